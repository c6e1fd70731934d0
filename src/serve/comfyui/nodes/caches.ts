/** Nodes that give a model a cache: ComfyUI's own, those of ComfyUI-CacheDiT under their names, and ours. */
import { type Input, type Inputs, type NodeClass, NodeRefusal } from '../graph/node.ts';
import type { ModelUse, Value } from '../graph/values.ts';

const model: Input = { type: 'MODEL' };
const enable: Input = { type: 'BOOLEAN', default: true };

/** What the presets of ComfyUI-CacheDiT are meant to be, as settings of our cache. `warmup` of 0 takes the preset's. */
const presets: Readonly<Record<string, { blocks: number; threshold: number; warmup: number; order: number }>> = {
  'Z-Image': { blocks: 8, threshold: 0.12, warmup: 25, order: 1 },
  'Z-Image-Turbo': { blocks: 4, threshold: 0.15, warmup: 3, order: 0 },
  'Qwen-Image': { blocks: 1, threshold: 0.12, warmup: 8, order: 1 },
  Flux: { blocks: 8, threshold: 0.12, warmup: 4, order: 1 },
  Custom: { blocks: 8, threshold: 0.12, warmup: 8, order: 1 },
};

const summary: Input = { type: 'BOOLEAN', default: true, tooltip: 'into the log and the outputs of this node' };

/** The model with a cache, whose work is told of where that is asked for. */
function cached(inputs: Inputs, cache: NonNullable<ModelUse['cache']>, tells: string): readonly Value[] {
  const use = inputs.link('model', 'MODEL');
  const told = inputs.flag(tells) ? { summaries: [...(use.summaries ?? []), inputs.id] } : {};
  return [{ ...use, ...told, cache }];
}

function cacheDit(inputs: Inputs) {
  const [wanted, skip] = [inputs.number('warmup_steps'), inputs.number('skip_interval')];
  const name = inputs.text('model_type');
  const preset = name === 'Auto' ? undefined : presets[name]!;
  const warmup = wanted === 0 ? preset?.warmup : wanted;
  if (skip > 0) return everyStep(inputs, { warmup: warmup ?? 0, isComputed: (step) => step % skip !== 0 });
  if (!preset) return () => (wanted === 0 ? {} : { max_warmup_steps: wanted });
  const { blocks, threshold, order } = preset;
  return () => ({
    Fn_compute_blocks: blocks,
    Bn_compute_blocks: 0,
    residual_diff_threshold: threshold,
    max_warmup_steps: warmup,
    ...(order === 0 ? {} : { enable_taylorseer: true, taylorseer_order: order }),
  });
}

/** A cache that re-uses by number. @param isComputed of a step after the warm-up, counted from 1 */
function everyStep(
  inputs: Inputs,
  { warmup, isComputed }: { warmup: number; isComputed(step: number): boolean },
): NonNullable<ModelUse['cache']> {
  if (!inputs.flag('enable')) return () => false;
  return (steps) => ({
    Fn_compute_blocks: 1,
    Bn_compute_blocks: 0,
    max_warmup_steps: warmup,
    max_continuous_cached_steps: -1,
    steps_computation_mask: Array.from({ length: steps }, (_, i) =>
      i < Math.max(1, warmup) || isComputed(i + 1 - warmup) ? 1 : 0,
    ),
    steps_computation_policy: 'static',
  });
}

export const caches: Readonly<Record<string, NodeClass>> = {
  EasyCache: {
    title: 'EasyCache',
    category: 'advanced/debug/model',
    description: 'Skips whole steps, from start_percent on; end_percent must be 0.95 or more.',
    inputs: {
      model,
      reuse_threshold: { type: 'FLOAT', default: 0.2, min: 0, max: 3, step: 0.01 },
      start_percent: { type: 'FLOAT', default: 0.15, min: 0, max: 1, step: 0.01 },
      end_percent: { type: 'FLOAT', default: 0.95, min: 0, max: 1, step: 0.01 },
      verbose: { type: 'BOOLEAN', default: false },
    },
    outputs: [['MODEL', 'MODEL']],
    read: (inputs) => {
      if (inputs.number('end_percent') < 0.95)
        throw new NodeRefusal('end_percent', 'the cache runs to the last step here; set 0.95 or more');
      const cache = (steps: number) => ({
        cacheType: 'EasyCache',
        residual_diff_threshold: inputs.number('reuse_threshold'),
        max_warmup_steps: Math.ceil(inputs.number('start_percent') * steps),
      });
      return cached(inputs, cache, 'verbose');
    },
  },
  CacheDiT_Model_Optimizer: {
    title: '⚡ CacheDiT Accelerator',
    category: '⚡ CacheDiT',
    description: 'The cache of this server with the intent of the preset; steps are counted for each guidance branch.',
    inputs: {
      model,
      enable,
      model_type: { type: 'COMBO', choices: () => ['Auto', ...Object.keys(presets)] },
      warmup_steps: { type: 'INT', default: 0, min: 0, max: 100, tooltip: '0: as the preset has it' },
      skip_interval: {
        type: 'INT',
        default: 0,
        min: 0,
        max: 10,
        tooltip: '0: the cache decides by what changes; else every so many steps after the warm-up are re-used',
      },
      print_summary: summary,
    },
    outputs: [['MODEL', 'optimized_model']],
    read: (inputs) => {
      const cache = inputs.flag('enable') ? cacheDit(inputs) : () => false as const;
      return cached(inputs, cache, 'print_summary');
    },
  },
  WanCacheOptimizer: {
    title: '⚡ CacheDiT Wan Accelerator',
    category: '⚡ CacheDiT',
    description: 'Of every skip_interval steps after the warm-up the first is computed, in each guidance branch.',
    inputs: {
      model,
      enable,
      warmup_steps: { type: 'INT', default: 4, min: 1, max: 20 },
      skip_interval: { type: 'INT', default: 2, min: 2, max: 10 },
      print_summary: summary,
    },
    outputs: [['MODEL', 'optimized_model']],
    read: (inputs) => cached(inputs, firstOf(inputs), 'print_summary'),
  },
  CacheDiT_LTX2_Optimizer: {
    title: '⚡ CacheDiT LTX-2 Accelerator',
    category: '⚡ CacheDiT',
    description:
      'Of every skip_interval steps after the warm-up the first is computed, in each guidance branch. No noise is added.',
    inputs: {
      model,
      enable,
      warmup_steps: { type: 'INT', default: 10, min: 3, max: 20, optional: true },
      skip_interval: { type: 'INT', default: 5, min: 2, max: 15, optional: true },
      noise_scale: {
        type: 'FLOAT',
        default: 0.001,
        min: 0,
        max: 0.01,
        step: 0.0001,
        optional: true,
        tooltip: 'no effect: no noise is added to what is re-used',
      },
      print_summary: { ...summary, optional: true },
    },
    outputs: [['MODEL', 'optimized_model']],
    read: (inputs) => {
      if (inputs.number('noise_scale') !== 0)
        inputs.note('noise_scale has no effect: what is re-used is re-used as it is, without noise on it');
      return cached(inputs, firstOf(inputs), 'print_summary');
    },
  },
  DejaDitCache: {
    title: 'Cache (deja-dit)',
    category: 'deja-dit',
    description: 'The default cache within a budget of visible error, or any settings as JSON under cache-dit’s names.',
    inputs: {
      model,
      enable,
      error_budget: { type: 'FLOAT', default: 0.05, min: 0, max: 1, step: 0.005 },
      settings: {
        type: 'STRING',
        default: '',
        multiline: true,
        optional: true,
        tooltip: 'JSON, in place of the budget',
      },
    },
    outputs: [['MODEL', 'MODEL']],
    read: (inputs) => {
      const settings = inputs.text('settings').trim();
      const chosen = settings === '' ? { error_budget: inputs.number('error_budget') } : jsonObject(settings);
      const cache = () => (inputs.flag('enable') ? chosen : (false as const));
      return [{ ...inputs.link('model', 'MODEL'), cache }];
    },
  },
};

/** Of every `skip_interval` steps after the warm-up the first is computed. */
function firstOf(inputs: Inputs): NonNullable<ModelUse['cache']> {
  const [warmup, skip] = [inputs.number('warmup_steps'), inputs.number('skip_interval')];
  return everyStep(inputs, { warmup, isComputed: (step) => (step - 1) % skip === 0 });
}

function jsonObject(text: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new NodeRefusal('settings', 'is not valid JSON');
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new NodeRefusal('settings', 'must be an object of settings');
}
