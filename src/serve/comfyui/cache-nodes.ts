/** Nodes that give a model a cache: ComfyUI's own, those of ComfyUI-CacheDiT under their names, and ours. */
import { type Input, type Inputs, type NodeClass, NodeRefusal } from './node.ts';

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

function cacheDit(inputs: Inputs) {
  if (inputs.number('skip_interval') !== 0)
    throw new NodeRefusal(
      'skip_interval',
      'steps are skipped by what they would change here, not by their number; set 0',
    );
  const name = inputs.text('model_type');
  const wanted = inputs.number('warmup_steps');
  if (name === 'Auto') return () => (wanted === 0 ? {} : { max_warmup_steps: wanted });
  const { blocks, threshold, warmup, order } = presets[name]!;
  return () => ({
    Fn_compute_blocks: blocks,
    Bn_compute_blocks: 0,
    residual_diff_threshold: threshold,
    max_warmup_steps: wanted === 0 ? warmup : wanted,
    ...(order === 0 ? {} : { enable_taylorseer: true, taylorseer_order: order }),
  });
}

export const cacheNodes: Readonly<Record<string, NodeClass>> = {
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
      return [{ ...inputs.link('model', 'MODEL'), cache }];
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
        tooltip: 'must be 0: the cache decides by what changes',
      },
      print_summary: { type: 'BOOLEAN', default: true },
    },
    outputs: [['MODEL', 'optimized_model']],
    read: (inputs) => {
      const cache = inputs.flag('enable') ? cacheDit(inputs) : () => false as const;
      return [{ ...inputs.link('model', 'MODEL'), cache }];
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
