/** One field of the form, whatever its kind: label, control, what it is for, and what is wrong with it. */
import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';
import { IconButton } from '../parts/icons.tsx';
import { errors, setValue, values } from '../state/form.ts';
import type { Field } from './fields.ts';
import { PictureField } from './picture-field.tsx';

interface ControlProps {
  id: string;
  'aria-describedby'?: string;
  'aria-invalid'?: boolean;
}

interface LabelledProps {
  name: string;
  label: string;
  help: string;
  /** Label and control in one line. */
  row?: boolean;
  /** Beside the label. */
  aside?: ComponentChildren;
  children(props: ControlProps): ComponentChildren;
}

export function Labelled({ name, label, help, row = false, aside, children }: LabelledProps) {
  const id = useId();
  const error = errors.value[name];
  const described = [error ? `${id}-error` : '', help ? `${id}-help` : ''].filter(Boolean).join(' ');
  return (
    <div class={`field ${row ? 'row' : ''} ${error ? 'wrong' : ''}`} data-field={name}>
      <div class="label">
        <label for={id} title={help}>
          {label}
        </label>
        {aside}
      </div>
      {children({
        id,
        ...(described ? { 'aria-describedby': described } : {}),
        ...(error ? { 'aria-invalid': true } : {}),
      })}
      {help && (
        <span id={`${id}-help`} class="help">
          {help}
        </span>
      )}
      {error && (
        <p id={`${id}-error`} class="error" role="alert">
          {error}
        </p>
      )}
    </div>
  );
}

export function FieldRow({ field }: { field: Field }) {
  const { name, label, help, kind } = field;
  const value = values.value[name];
  if (kind === 'picture') return <PictureField field={field} />;
  const back = value !== undefined && (
    <IconButton icon="reset" label={`${label}: as it was`} class="tiny" onClick={() => setValue(name, undefined)} />
  );
  const long = kind === 'json' || kind === 'text-or-json' || kind === 'text';
  return (
    <Labelled name={name} label={label} help={help} row={!long} aside={back}>
      {(props) => <Control field={field} value={value} props={props} />}
    </Labelled>
  );
}

function Control({ field, value, props }: { field: Field; value: unknown; props: ControlProps }) {
  const { name, kind, choices, help } = field;
  const shown = value ?? field.default;
  const onInput = ({ currentTarget }: { currentTarget: { value: string } }) => setValue(name, currentTarget.value);
  switch (kind) {
    case 'number':
      return <NumberControl field={field} value={value} props={props} />;
    case 'flag':
      return (
        <input
          {...props}
          type="checkbox"
          role="switch"
          checked={shown === true}
          aria-checked={shown === true}
          onChange={({ currentTarget }) => setValue(name, currentTarget.checked)}
        />
      );
    case 'choice':
      return (
        <select {...props} value={String(shown ?? '')} onChange={onInput}>
          {field.default === undefined && <option value="">as the model has it</option>}
          {choices.map((choice) => (
            <option key={choice} value={choice}>
              {choice}
            </option>
          ))}
        </select>
      );
    default:
      return (
        <input
          {...props}
          spellcheck={false}
          autocomplete="off"
          class={kind === 'json' ? 'code' : ''}
          value={String(value ?? '')}
          placeholder={placeholder(field)}
          title={help}
          onInput={onInput}
        />
      );
  }
}

/** A number to type, and a slider over what is usual. */
function NumberControl({ field, value, props }: { field: Field; value: unknown; props: ControlProps }) {
  const { name, label, step } = field;
  const range = usual(field);
  const number = Number(value ?? field.default);
  const set = (text: string) => setValue(name, text === '' ? undefined : Number(text));
  return (
    <span class="number">
      {range && (
        <input
          type="range"
          aria-label={`${label}, roughly`}
          tabIndex={-1}
          min={range[0]}
          max={range[1]}
          step={step ?? (range[1] - range[0]) / 100}
          value={number}
          onInput={({ currentTarget }) => set(String(Number(Number(currentTarget.value).toPrecision(3))))}
        />
      )}
      <input
        {...props}
        type="number"
        min={field.min}
        max={field.max}
        step={step ?? 'any'}
        value={value === undefined && field.default === undefined ? '' : String(number)}
        placeholder="auto"
        onInput={({ currentTarget }) => set(currentTarget.value)}
      />
    </span>
  );
}

/** From the least to twice the default, or all of a range of shares. */
function usual({ min = 0, max, default: initial }: Field): [number, number] | undefined {
  if (typeof initial !== 'number') return undefined;
  if (max !== undefined && max <= 1) return [min, max];
  if (initial <= min) return [min, Math.min(max ?? 8, min + 7)];
  return [min, Math.min(max ?? Number.POSITIVE_INFINITY, 2 * initial)];
}

function placeholder({ kind, default: initial }: Field): string {
  if (typeof initial === 'string') return initial;
  if (Array.isArray(initial)) return initial.join(', ');
  return { json: '{ }', numbers: '0.1, 0.8', 'text-or-json': 'as the model has it' }[kind as string] ?? '';
}
