/** What A1111's clients fill their menus from. */
import os from 'node:os';
import { namesFor, samplers, schedules } from '../../pipelines/request/samplers.ts';
import type { Core } from '../core.ts';
import type { WebUiOptions } from './options.ts';

/** Under `/sdapi/v1/`, each as it is asked for. */
export function lists(core: Core, state: WebUiOptions): Readonly<Record<string, () => unknown>> {
  const current = () => state.sd_model_checkpoint ?? core.models.default;
  /** Of the current model; both kinds while it is not known. */
  const levels = () => {
    const now = core.models.state(current());
    return now?.state === 'loaded' ? [now.info.levels] : (['flows', 'noise'] as const);
  };
  const fitting = (table: Parameters<typeof namesFor>[0]) => [
    ...new Set(levels().flatMap((kind) => namesFor(table, kind))),
  ];
  return {
    samplers: () =>
      fitting(samplers).map((name) => ({ name: samplers[name]!.label, aliases: [name, `k_${name}`], options: {} })),
    schedulers: () =>
      fitting(schedules).map((name) => ({
        name,
        label: schedules[name]!.label,
        aliases: null,
        default_rho: -1,
        need_inner_model: false,
      })),
    'sd-models': () =>
      core.models.list().map(({ name }) => ({
        title: name,
        model_name: name,
        hash: null,
        sha256: null,
        filename: name,
        config: null,
      })),
    'sd-modules': () => [],
    'sd-vae': () => [],
    loras: () => core.loras.names.map((name) => ({ name, alias: name, path: name, metadata: {} })),
    upscalers: () => [{ name: 'None', model_name: null, model_path: null, model_url: null, scale: 1 }],
    'latent-upscale-modes': () => [],
    hypernetworks: () => [],
    'face-restorers': () => [],
    'realesrgan-models': () => [],
    embeddings: () => ({ loaded: {}, skipped: {} }),
    'prompt-styles': () => [],
    'cmd-flags': () => ({}),
    scripts: () => ({ txt2img: [], img2img: [] }),
    'script-info': () => [],
    memory: () => ({
      ram: { free: os.freemem(), used: os.totalmem() - os.freemem(), total: os.totalmem() },
      cuda: { error: 'unavailable' },
    }),
    options: () => ({
      ...state,
      sd_model_checkpoint: current(),
      sd_checkpoint_hash: null,
      CLIP_stop_at_last_layers: 1,
    }),
  };
}
