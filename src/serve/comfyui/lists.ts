/** What clients ask about a server: its nodes, its models, its machine. */
import os from 'node:os';
import type { Core } from '../core.ts';
import type { Input, NodeClass, Surroundings } from './node.ts';
import { nodeClasses } from './nodes.ts';
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
    embeddings: () => [],
    extensions: () => [],
    models: () => ['checkpoints', 'diffusion_models', 'text_encoders', 'vae', 'loras'],
    'models/checkpoints': () => core.models.list().map(({ name }) => name),
    'models/diffusion_models': () => core.models.list().map(({ name }) => name),
    'models/text_encoders': () => core.models.list().map(({ name }) => name),
    'models/vae': () => core.models.list().map(({ name }) => name),
    'models/loras': () => [],
  };
}

/** Of one class, or of all; nothing for one that is not there. */
export function objectInfo(around: Surroundings, name?: string): object {
  const chosen = Object.entries(nodeClasses).filter(([known]) => name === undefined || known === name);
  return Object.fromEntries(chosen.map(([known, node]) => [known, classInfo(known, node, around)]));
}

function classInfo(name: string, node: NodeClass, around: Surroundings): object {
  const inputs = Object.entries(node.inputs);
  const part = (isOptional: boolean) => inputs.filter(([, input]) => (input.optional ?? false) === isOptional);
  const described = (list: typeof inputs) =>
    Object.fromEntries(list.map(([key, input]) => [key, inputInfo(input, around)]));
  const names = (list: typeof inputs) => list.map(([key]) => key);
  return {
    input: { required: described(part(false)), optional: described(part(true)) },
    input_order: { required: names(part(false)), optional: names(part(true)) },
    output: node.outputs.map(([type]) => type),
    output_is_list: node.outputs.map(() => false),
    output_name: node.outputs.map(([, label]) => label),
    name,
    display_name: node.title,
    description: node.description ?? '',
    python_module: 'nodes',
    category: node.category,
    output_node: node.isOutput ?? false,
  };
}

function inputInfo({ optional: _, ...input }: Input, around: Surroundings): unknown[] {
  if (input.type === 'COMBO') return [input.choices(around), input.tooltip ? { tooltip: input.tooltip } : {}];
  if (input.type === 'UPLOAD') return [around.uploads.names, { image_upload: true }];
  const { type, ...settings } = input;
  return [type, settings];
}
