/** Width and height as one field, since one is seldom meant without the other. */
import { IconButton } from '../parts/icons.tsx';
import { errors, setValue, values } from '../state/form.ts';
import type { Field } from './fields.ts';

export function SizeField({ width, height }: { width: Field; height: Field }) {
  const now = (field: Field) => values.value[field.name] ?? field.default ?? '';
  const error = errors.value['width'] ?? errors.value['height'];
  const input = (field: Field) => (
    <input
      type="number"
      aria-label={field.label}
      aria-invalid={Boolean(errors.value[field.name])}
      title={field.help}
      min={field.min}
      max={field.max}
      step={field.step ?? 1}
      placeholder="auto"
      value={String(now(field))}
      onInput={({ currentTarget: { value } }) => setValue(field.name, value === '' ? undefined : Number(value))}
    />
  );
  return (
    <div class={`field row ${error ? 'wrong' : ''}`} data-field="width">
      <div class="label">
        <span>Size</span>
      </div>
      <span class="size">
        {input(width)}
        <IconButton
          icon="swap"
          label="Swap width and height"
          onClick={() => {
            const [w, h] = [now(width), now(height)];
            setValue('width', h);
            setValue('height', w);
          }}
        />
        {input(height)}
      </span>
      {error && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
    </div>
  );
}
