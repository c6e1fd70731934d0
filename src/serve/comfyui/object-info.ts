/** Node classes as `/object_info` describes them. */
import type { Input, NodeClass, Surroundings } from './graph/node.ts';
import { nodeClasses } from './nodes/nodes.ts';

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
    output_node: node.output !== undefined,
  };
}

function inputInfo({ optional: _, ...input }: Input, around: Surroundings): unknown[] {
  if (input.type === 'COMBO') return [input.choices(around), input.tooltip ? { tooltip: input.tooltip } : {}];
  if (input.type === 'UPLOAD') return [around.uploads.names, { image_upload: true }];
  const { type, ...settings } = input;
  return [type, settings];
}
