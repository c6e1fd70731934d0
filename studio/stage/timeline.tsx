/**
 * What each step did: a cell that says whether it was computed, and above it how large its visible error was against the budget, or, where
 * nothing was compared, how long it took. The line is the budget: what stays below it is forecast.
 */
import { useState } from 'preact/hooks';
import type { StepEvent } from '../api/types.ts';
import { duration, figures, median } from '../parts/format.ts';

export interface TimelineProps {
  steps: readonly StepEvent[];
  /** Of the request, as far as it is known. */
  total: number;
  title: string;
  /** Whether what was not computed was forecast, or left as it was. */
  forecasts: boolean;
}

/** Twice the budget is the top. */
const top = 2;

export function Timeline({ steps, total, title, forecasts }: TimelineProps) {
  const [at, setAt] = useState<number | undefined>();
  const word = forecasts ? 'forecast' : 're-used';
  const [first] = steps.flatMap((step) => levelOf(step) ?? []);
  const compares = first !== undefined;
  const axis = first
    ? { error: 'visible error against the budget', change: 'change against the threshold' }[first.name]
    : 'time of each step';
  const usual = median(steps.map(({ time }) => time)) || 1;
  const heightOf = (step: StepEvent): number | undefined => {
    const level = levelOf(step);
    if (compares) return level && Math.min(top, level.value / level.threshold) / top;
    return Math.min(top, step.time / usual) / top;
  };
  const count = Math.max(total, steps.length);
  const shown = at === undefined ? undefined : steps[at];
  const reused = steps.filter(({ action }) => action === 'reuse').length;
  const move = (event: KeyboardEvent) => {
    const last = steps.length - 1;
    const next = {
      ArrowRight: Math.min(last, (at ?? -1) + 1),
      ArrowLeft: Math.max(0, (at ?? last + 1) - 1),
      Home: 0,
      End: last,
    }[event.key];
    if (next === undefined || last < 0) return;
    event.preventDefault();
    setAt(next);
  };
  return (
    <figure class="timeline" data-steps={steps.length}>
      <figcaption>
        <span class="title">{title}</span>
        <span class="legend">
          <span>
            <i class="computed" /> {steps.length - reused} computed
          </span>
          {compares || reused > 0 ? (
            <span>
              <i class="reused" /> {reused} {word}
            </span>
          ) : null}
        </span>
      </figcaption>
      <div
        class="chart"
        role="slider"
        tabIndex={0}
        aria-label={`${title}: steps`}
        aria-valuemin={1}
        aria-valuemax={Math.max(1, steps.length)}
        aria-valuenow={(at ?? 0) + 1}
        aria-valuetext={shown ? told(shown, word) : `${steps.length} steps, ${reused} ${word}`}
        onKeyDown={move}
        onFocus={() => setAt((now) => now ?? (steps.length > 0 ? 0 : undefined))}
        onBlur={() => setAt(undefined)}
        onPointerLeave={() => setAt(undefined)}
      >
        {compares && <span class="line" aria-hidden="true" />}
        {Array.from({ length: count }, (_, i) => {
          const step = steps[i];
          const height = step && heightOf(step);
          return (
            <span
              key={i}
              class={`step ${step?.action ?? 'open'} ${i === at ? 'at' : ''}`}
              onPointerEnter={() => setAt(step ? i : undefined)}
            >
              <span class="bar-space">
                {height !== undefined && (
                  <span
                    class={`bar ${height >= 1 ? 'over' : ''}`}
                    style={{ height: `${Math.max(2, 100 * height)}%` }}
                  />
                )}
              </span>
              <span class="cell" />
            </span>
          );
        })}
        {shown && at !== undefined && (
          <span class={`tip ${at / count > 0.5 ? 'left' : ''}`} style={{ left: `${(100 * (at + 0.5)) / count}%` }}>
            <Tip step={shown} word={word} />
          </span>
        )}
      </div>
      <div class="axis" aria-hidden="true">
        <span>1</span>
        <span>{axis}</span>
        <span>{count}</span>
      </div>
    </figure>
  );
}

function Tip({ step, word }: { step: StepEvent; word: string }) {
  const level = levelOf(step);
  return (
    <>
      <b>
        Step {step.step} <em class={step.action}>{step.action === 'reuse' ? word : 'computed'}</em>
      </b>
      {level && (
        <span>
          {level.name} {figures(level.value)} of {figures(level.threshold)}
        </span>
      )}
      {Object.entries(step.branches).map(([branch, { reason }]) => (
        <span key={branch} class="reason">
          {Object.keys(step.branches).length > 1 ? `${branch}: ` : ''}
          {reason}
        </span>
      ))}
      <span class="reason">{duration(step.time)}</span>
    </>
  );
}

function told(step: StepEvent, word: string): string {
  const level = levelOf(step);
  const [first] = Object.values(step.branches);
  return [
    `step ${step.step}`,
    step.action === 'reuse' ? word : 'computed',
    level ? `${level.name} ${figures(level.value)} of ${figures(level.threshold)}` : first?.reason,
    duration(step.time),
  ]
    .filter(Boolean)
    .join(', ');
}

interface Level {
  name: 'error' | 'change';
  value: number;
  threshold: number;
}

/** What was held against what, on the first branch where anything was. */
function levelOf({ branches }: StepEvent): Level | undefined {
  for (const { visibleError, diff, threshold } of Object.values(branches)) {
    const value = visibleError ?? diff;
    if (value !== null && value >= 0 && threshold !== null && threshold > 0)
      return { name: visibleError === undefined ? 'change' : 'error', value, threshold };
  }
  return undefined;
}
