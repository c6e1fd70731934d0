/** What of a request may be forecast instead of computed. */
import { useId } from 'preact/hooks';
import { Segments } from '../parts/segments.tsx';
import { cache, clearError, errors } from '../state/form.ts';
import { type CacheChoice, leastBudget, modes, mostBudget, presets } from './cache-settings.ts';

const set = (change: Partial<CacheChoice>) => {
  cache.value = { ...cache.value, ...change };
  clearError('cache');
};

export function CacheField() {
  const id = useId();
  const { mode, preset, json } = cache.value;
  const error = errors.value['cache'];
  const { help } = modes.find((one) => one.mode === mode)!;
  return (
    <fieldset class={`cache field ${error ? 'wrong' : ''}`} data-field="cache" aria-describedby={`${id}-help`}>
      <legend>Cache</legend>
      <Segments
        label="How"
        choices={modes.map((one) => ({ value: one.mode, label: one.label }))}
        value={mode}
        onChange={(mode) => set({ mode })}
      />
      {mode === 'budget' && <Budget />}
      {mode === 'preset' && (
        <select
          aria-label="Preset"
          value={preset}
          onChange={({ currentTarget }) => set({ preset: currentTarget.value })}
        >
          {presets.map(({ name, label }) => (
            <option key={name} value={name}>
              {label}
            </option>
          ))}
        </select>
      )}
      {mode === 'json' && (
        <textarea
          aria-label="Settings as JSON"
          aria-invalid={Boolean(error)}
          class="code"
          rows={3}
          spellcheck={false}
          value={json}
          onInput={({ currentTarget }) => set({ json: currentTarget.value })}
        />
      )}
      {error ? (
        <p class="error" role="alert">
          {error}
        </p>
      ) : (
        <p class="hint" id={`${id}-help`}>
          {help}
        </p>
      )}
    </fieldset>
  );
}

/** The slider goes by the logarithm: twice the budget is as far everywhere. */
function Budget() {
  const { budget } = cache.value;
  const position = Math.log(budget / leastBudget) / Math.log(mostBudget / leastBudget);
  return (
    <div class="budget">
      <input
        type="range"
        aria-label="Error budget"
        aria-valuetext={String(budget)}
        min={0}
        max={1}
        step={0.01}
        value={position}
        onInput={({ currentTarget }) =>
          set({
            budget: Number((leastBudget * (mostBudget / leastBudget) ** Number(currentTarget.value)).toPrecision(2)),
          })
        }
      />
      <input
        type="number"
        aria-label="Error budget, exactly"
        min={0}
        step="any"
        value={budget}
        onInput={({ currentTarget }) => {
          if (Number(currentTarget.value) > 0) set({ budget: Number(currentTarget.value) });
        }}
      />
      <span class="scale" aria-hidden="true">
        <span>careful</span>
        <span>daring</span>
      </span>
    </div>
  );
}
