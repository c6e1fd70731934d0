/** Asks for the key that the server wants. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { apiKey, connection, takeKey } from './api/client.ts';

export function KeyDialog({ open, onClose }: { open: boolean; onClose(): void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [key, setKey] = useState('');
  const wanted = open || connection.value === 'locked';
  useEffect(() => {
    if (wanted && !dialog.current?.open) dialog.current?.showModal();
    if (!wanted) dialog.current?.close();
  }, [wanted]);
  return (
    <dialog ref={dialog} onClose={onClose} aria-labelledby="key-title">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          takeKey(key.trim());
          setKey('');
          onClose();
        }}
      >
        <h2 id="key-title">This server asks for a key</h2>
        <p class="hint">It stays in this tab, and goes to this server alone.</p>
        {connection.value === 'locked' && apiKey.value !== '' && (
          <p class="error" role="alert">
            The key that it was given does not fit.
          </p>
        )}
        <label class="dialog-label" for="key">
          API key
        </label>
        <input
          id="key"
          type="password"
          autocomplete="off"
          value={key}
          required
          onInput={({ currentTarget }) => setKey(currentTarget.value)}
        />
        <button class="primary" type="submit">
          Go on
        </button>
      </form>
    </dialog>
  );
}
