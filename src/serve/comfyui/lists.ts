/** What clients ask about a server: its models, its machine, its users. */
import os from 'node:os';
import type { Core } from '../core.ts';
import { features } from './sockets.ts';

/** Under `/`, each as it is asked for. */
export function lists(core: Core): Readonly<Record<string, () => object>> {
  return {
    system_stats: () => ({
      system: {
        os: process.platform,
        ram_total: os.totalmem(),
        ram_free: os.freemem(),
        comfyui_version: '0.3.0',
        python_version: `none: Node ${process.version}`,
        pytorch_version: 'none: ONNX Runtime',
        embedded_python: false,
        argv: [],
      },
      devices: [
        {
          name: 'cpu',
          type: 'cpu',
          index: 0,
          vram_total: os.totalmem(),
          vram_free: os.freemem(),
          torch_vram_total: os.totalmem(),
          torch_vram_free: os.freemem(),
        },
      ],
    }),
    features: () => features,
    // There is one user, whose settings are the client's to keep.
    users: () => ({ storage: 'server', migrated: true }),
    settings: () => ({}),
    embeddings: () => [],
    extensions: () => [],
    models: () => ['checkpoints', 'diffusion_models', 'text_encoders', 'vae', 'loras'],
    'models/checkpoints': () => core.models.list().map(({ name }) => name),
    'models/diffusion_models': () => core.models.list().map(({ name }) => name),
    'models/text_encoders': () => core.models.list().map(({ name }) => name),
    'models/vae': () => core.models.list().map(({ name }) => name),
    'models/loras': () => core.loras.names,
  };
}
