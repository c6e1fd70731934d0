/** The top of the page: which model, whether the server is there, and how bright it all is. */
import { useEffect, useState } from 'preact/hooks';
import { apiKey, connection } from './api/client.ts';
import { IconButton, type IconName } from './parts/icons.tsx';
import { loadModel, model, modelName, models, restarted } from './state/models.ts';
import { stored } from './state/stored.ts';

type Theme = 'auto' | 'light' | 'dark';
const theme = stored<Theme>('theme', 'auto');
const themes: Readonly<Record<Theme, { icon: IconName; label: string; next: Theme }>> = {
  auto: { icon: 'auto', label: 'As bright as the system', next: 'light' },
  light: { icon: 'sun', label: 'Light', next: 'dark' },
  dark: { icon: 'moon', label: 'Dark', next: 'auto' },
};

export function Header({ onKey }: { onKey(): void }) {
  const { icon, label, next } = themes[theme.value];
  useEffect(() => {
    document.documentElement.dataset['theme'] = theme.value;
  }, [theme.value]);
  return (
    <header class="top">
      <h1>
        deja-dit <span>studio</span>
      </h1>
      <ModelPicker />
      <Status />
      {apiKey.value && <IconButton icon="key" label="Another API key" onClick={onKey} />}
      <IconButton
        icon={icon}
        label={`Brightness: ${label}`}
        onClick={() => {
          theme.value = next;
        }}
      />
    </header>
  );
}

function ModelPicker() {
  const [refused, setRefused] = useState<string | undefined>();
  const now = model.value;
  if (!now) return <span class="model" />;
  return (
    <div class="model">
      {models.value.length > 1 ? (
        <select
          aria-label="Model"
          value={now.id}
          onChange={({ currentTarget }) => {
            modelName.value = currentTarget.value;
            setRefused(undefined);
          }}
        >
          {models.value.map(({ id }) => (
            <option key={id} value={id}>
              {id}
            </option>
          ))}
        </select>
      ) : (
        <span class="name">{now.id}</span>
      )}
      {now.pipeline && <span class="pipeline">{now.pipeline}</span>}
      {now.state === 'unloaded' && (
        <button type="button" onClick={async () => setRefused(await loadModel(now.id))}>
          Load it
        </button>
      )}
      {now.state === 'loading' && <span class="pipeline">loading…</span>}
      {(refused ?? now.error) && <span class="error">{refused ?? now.error}</span>}
    </div>
  );
}

function Status() {
  const states = {
    connecting: ['', 'Connecting'],
    ready: model.value?.state === 'loaded' ? ['good', 'Ready'] : ['', 'Model not loaded'],
    lost: ['bad', 'No connection, trying again'],
    locked: ['bad', 'Needs a key'],
  } as const;
  const [kind, text] = states[connection.value];
  return (
    <p class="status" role="status">
      <i class={kind} aria-hidden="true" />
      <span>
        {restarted.value && connection.value === 'ready' ? 'The server was restarted: its jobs are gone' : text}
      </span>
      {restarted.value && connection.value === 'ready' && (
        <IconButton
          icon="close"
          label="Understood"
          class="tiny"
          onClick={() => {
            restarted.value = false;
          }}
        />
      )}
    </p>
  );
}
