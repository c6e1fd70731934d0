/** A picture that a request starts from, or a mask: chosen, or dropped onto it. */
import { useId, useState } from 'preact/hooks';
import { Icon, IconButton } from '../parts/icons.tsx';
import { clearError, errors, pictures } from '../state/form.ts';
import type { Field } from './fields.ts';

export function PictureField({ field: { name, label, help } }: { field: Field }) {
  const id = useId();
  const [over, setOver] = useState(false);
  const given = pictures.value[name] ?? [];
  const error = errors.value[name];
  const set = (list: readonly string[]) => {
    pictures.value = { ...pictures.value, [name]: list };
    clearError(name);
  };
  const take = async (files: FileList | null | undefined) => {
    const images = [...(files ?? [])].filter(({ type }) => type.startsWith('image/'));
    if (images.length > 0) set([...given, ...(await Promise.all(images.map(asDataUrl)))]);
  };
  return (
    <div class={`field ${error ? 'wrong' : ''}`} data-field={name}>
      <div class="label">
        <label for={id} title={help}>
          {label}
        </label>
      </div>
      <fieldset
        aria-label={label}
        class={`drop ${over ? 'over' : ''}`}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          void take(event.dataTransfer?.files);
        }}
      >
        {given.map((url, i) => (
          <span class="thumb" key={url}>
            <img src={url} alt={`${label} ${i + 1}`} />
            <IconButton icon="close" label="Take it away" onClick={() => set(given.filter((other) => other !== url))} />
          </span>
        ))}
        <label class="drop-target">
          <Icon name="picture" /> {given.length > 0 ? 'Add' : 'Choose or drop a picture'}
          <input
            id={id}
            class="hidden"
            type="file"
            accept="image/*"
            multiple
            aria-invalid={Boolean(error)}
            onChange={({ currentTarget }) => {
              void take(currentTarget.files);
              currentTarget.value = '';
            }}
          />
        </label>
      </fieldset>
      {error && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
    </div>
  );
}

function asDataUrl(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
