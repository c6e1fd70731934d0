/** A request's cache, as the form has it and as requests bring it. */
export type CacheMode = 'server' | 'off' | 'budget' | 'preset' | 'json';

export interface CacheChoice {
  mode: CacheMode;
  budget: number;
  preset: string;
  json: string;
}

export const initialCache: CacheChoice = {
  mode: 'budget',
  budget: 0.03,
  preset: 'slow',
  json: '{ "errorBudget": 0.03 }',
};

export const modes: readonly { mode: CacheMode; label: string; help: string }[] = [
  { mode: 'off', label: 'Off', help: 'Every step is computed.' },
  {
    mode: 'budget',
    label: 'Budget',
    help: 'Steps are forecast while their visible errors, summed, stay below the budget.',
  },
  { mode: 'preset', label: 'Preset', help: 'Another rule, with settings that are known to work.' },
  { mode: 'json', label: 'JSON', help: 'Settings under the names of enableCache, or of cache-dit.' },
  { mode: 'server', label: 'Server’s', help: 'What the server was started with.' },
];

export const presets: readonly { name: string; label: string; settings: object }[] = [
  { name: 'slow', label: 'Mask, slow: 64 % computed', settings: { stepsComputationMask: 'slow' } },
  { name: 'medium', label: 'Mask, medium: 54 % computed', settings: { stepsComputationMask: 'medium' } },
  { name: 'fast', label: 'Mask, fast: 39 % computed', settings: { stepsComputationMask: 'fast' } },
  { name: 'ultra', label: 'Mask, ultra: 29 % computed', settings: { stepsComputationMask: 'ultra' } },
  { name: 'threshold', label: 'Threshold 0.12', settings: { residualDiffThreshold: 0.12 } },
  { name: 'dbprune', label: 'Block by block (DBPrune)', settings: { cacheType: 'DBPrune' } },
  { name: 'easycache', label: 'Whole calls (EasyCache)', settings: { cacheType: 'EasyCache' } },
  { name: 'cache-dit', label: 'As cache-dit 1.3.5', settings: { compat: 'cache-dit' } },
];

/** The range of the slider, on which budgets lie by their logarithms. */
export const [leastBudget, mostBudget] = [0.005, 0.2];

/** @returns undefined for the server's own */
export function cacheSent({ mode, budget, preset, json }: CacheChoice): unknown {
  if (mode === 'off') return false;
  if (mode === 'budget') return { errorBudget: budget };
  if (mode === 'preset') return presets.find(({ name }) => name === preset)?.settings;
  return mode === 'json' ? JSON.parse(json) : undefined;
}

export function cacheWrong({ mode, json }: CacheChoice): string | undefined {
  if (mode !== 'json') return undefined;
  try {
    return typeof JSON.parse(json) === 'object' ? undefined : 'must be an object';
  } catch {
    return 'is no valid JSON';
  }
}

/** The choice that a job's settings came from. */
export function cacheChoice(sent: unknown): CacheChoice {
  if (sent === undefined) return { ...initialCache, mode: 'server' };
  if (sent === false) return { ...initialCache, mode: 'off' };
  const { cacheConfig = {}, ...others } = sent as { cacheConfig?: Record<string, unknown> };
  const { cacheType, errorBudget, ...fields } = cacheConfig;
  const plain = Object.keys(others).length === 0 && Object.keys(fields).length === 0 && cacheType !== 'EasyCache';
  if (plain && typeof errorBudget === 'number') return { ...initialCache, budget: errorBudget };
  return { ...initialCache, mode: 'json', json: JSON.stringify(sent) };
}
