/** From a graph in ComfyUI's API format to what it draws, with everything checked that can be before it runs. */
import { z } from '@hono/zod-openapi';
import { nearestName } from '../../../errors/errors.ts';
import { Problem } from '../../http/problem.ts';
import { nodeClasses } from '../nodes/nodes.ts';
import { standIns } from '../nodes/stand-ins.ts';
import { type Input, Inputs, type NodeClass, NodeRefusal, type OutputUse, type Surroundings } from './node.ts';
import type { Drawing, Value } from './values.ts';

const nodeSchema = z.looseObject({ class_type: z.string(), inputs: z.record(z.string(), z.unknown()) });
export const graphSchema = z
  .record(z.string(), nodeSchema)
  .describe('nodes by id, as ComfyUI exports them for its API');
export type Graph = z.infer<typeof graphSchema>;

/** An output node, and what it does with the files. */
export interface Output extends OutputUse {
  node: string;
}

export interface ReadGraph {
  drawing: Drawing;
  outputs: Output[];
  /** Node ids in the order in which they would run. */
  order: string[];
  /** What has no effect, and why. */
  notes: readonly string[];
}

export interface NodeError {
  type: string;
  message: string;
  details: string;
  extra_info: Record<string, unknown>;
}

type NodeErrors = Record<string, { errors: NodeError[]; class_type: string; dependent_outputs: string[] }>;

/** A graph that cannot run, with what is wrong by node. */
export class GraphProblem extends Problem {
  constructor(
    type: string,
    message: string,
    readonly about: { details?: string; extra?: Record<string, unknown>; nodes?: NodeErrors } = {},
  ) {
    super(400, message, { code: type });
  }
}

/** Far beyond any workflow of one sampler. */
const mostNodes = 1000;

/** @throws GraphProblem naming the nodes that are wrong */
export function readGraph(graph: Graph, around: Surroundings): ReadGraph {
  const ids = Object.keys(graph);
  if (ids.length > mostNodes) throw new GraphProblem('invalid_prompt', `has more than ${mostNodes} nodes`);
  for (const id of ids) if (!classOf(graph[id]!.class_type)) throw unknownClass(id, graph[id]!.class_type);
  const reader = new Reader(graph, around);
  const ends = ids.filter((id) => classOf(graph[id]!.class_type)!.output);
  if (ends.length === 0) throw new GraphProblem('prompt_no_outputs', 'Prompt has no outputs', {});
  const outputs: Output[] = [];
  let drawing: Drawing | undefined;
  for (const id of ends) {
    const [shown] = reader.read(id, id) ?? [];
    if (shown?.type !== 'IMAGE' || shown.from !== 'drawing') continue;
    drawing ??= shown.drawing;
    const output = { node: id, ...reader.outputs.get(id)! };
    const wrong =
      shown.drawing === drawing
        ? unfit(output, { first: outputs[0] ?? output, drawing, around })
        : 'shows what a second sampler drew; send one prompt for each';
    if (wrong !== undefined)
      reader.refuse(id, { input: shownInput(graph[id]!), type: 'custom_validation_failed', message: wrong });
    outputs.push(output);
  }
  if (Object.keys(reader.errors).length > 0)
    throw new GraphProblem('prompt_outputs_failed_validation', 'Prompt outputs failed validation', {
      nodes: reader.errors,
    });
  return { drawing: drawing!, outputs, order: reader.order, notes: reader.notes };
}

const shownInput = ({ class_type }: { class_type: string }): string => Object.keys(classOf(class_type)!.inputs)[0]!;

/** Why a node cannot show what is drawn: all files are made once, in one way. */
function unfit(
  { video }: Output,
  { first, drawing: { model }, around }: { first: Output; drawing: Drawing; around: Surroundings },
): string | undefined {
  const output = around.core.models.info(model)?.output;
  if (output === 'videos' && !video) return `'${model}' draws videos; use SaveAnimatedWEBP or SaveVideo`;
  if (output === 'images' && video) return `'${model}' draws pictures; use SaveImage`;
  const isSame = video?.format === first.video?.format && video?.fps === first.video?.fps;
  return isSame ? undefined : `must have the format and the frames per second of node '${first.node}'`;
}

const classOf = (name: string): NodeClass | undefined =>
  Object.hasOwn(nodeClasses, name) ? nodeClasses[name] : undefined;

function unknownClass(id: string, name: string): GraphProblem {
  const nearest = nearestName(name, Object.keys(nodeClasses));
  const instead = Object.hasOwn(standIns, name)
    ? `in its place: ${standIns[name]}`
    : nearest === undefined
      ? 'GET /object_info lists those there are'
      : `did you mean ${nearest}?`;
  return new GraphProblem('missing_node_type', `Node '${name}' not found; ${instead}`, {
    details: `Node ID '#${id}'`,
    extra: { node_id: id, class_type: name, node_title: name },
  });
}

interface Wrong {
  input: string;
  type: string;
  message: string;
}

class Reader {
  readonly order: string[] = [];
  /** What output nodes do with the files, by their ids. */
  readonly outputs = new Map<string, OutputUse>();
  readonly notes: string[] = [];
  /** Ids may be any names, also those that objects have. */
  readonly errors: NodeErrors = Object.create(null);
  /** Undefined for what is wrong. */
  private readonly values = new Map<string, readonly Value[] | undefined>();
  private readonly open = new Set<string>();

  constructor(
    private readonly graph: Graph,
    private readonly around: Surroundings,
  ) {}

  /** What a node gives; undefined if it, or one before it, is wrong. */
  read(id: string, output: string): readonly Value[] | undefined {
    if (this.values.has(id)) return this.values.get(id);
    this.open.add(id);
    const value = this.compute(id, output);
    this.open.delete(id);
    this.values.set(id, value);
    this.order.push(id);
    return value;
  }

  refuse(id: string, { input, type, message }: Wrong, output = id): undefined {
    const { class_type, inputs } = this.graph[id]!;
    this.errors[id] ??= { errors: [], class_type, dependent_outputs: [output] };
    const received = inputs[input];
    this.errors[id].errors.push({
      type,
      message,
      details: `${class_type} ${input}: ${message}`,
      extra_info: { input_name: input, ...(received === undefined ? {} : { received_value: received }) },
    });
    return undefined;
  }

  private compute(id: string, output: string): readonly Value[] | undefined {
    const { class_type, inputs: given } = this.graph[id]!;
    const { inputs: specs, read, output: use } = classOf(class_type)!;
    const plain = new Map<string, string | number | boolean>();
    const links = new Map<string, Value>();
    let isFine = true;
    for (const [name, spec] of Object.entries(specs)) {
      const value = Object.hasOwn(given, name) ? given[name] : undefined;
      try {
        if (value === undefined || value === null) {
          if (!spec.optional) throw new WrongInput('required_input_missing', 'Required input is missing');
          if ('default' in spec && spec.default !== undefined) plain.set(name, spec.default);
        } else if (isLinkType(spec)) {
          const linked = this.follow(value, { type: spec.type, output });
          if (linked) links.set(name, linked);
          else isFine = false;
        } else plain.set(name, plainValue(value, spec, this.around));
      } catch (error) {
        if (!(error instanceof WrongInput)) throw error;
        this.refuse(id, { input: name, type: error.type, message: error.message }, output);
        isFine = false;
      }
    }
    if (!isFine) return undefined;
    const note = (message: string) => this.notes.push(`${class_type} (node ${id}): ${message}`);
    const inputs = new Inputs(id, plain, links, note);
    try {
      const values = read(inputs, this.around);
      if (use) this.outputs.set(id, use(inputs));
      return values;
    } catch (error) {
      if (!(error instanceof NodeRefusal)) throw error;
      return this.refuse(id, { input: error.input, type: 'custom_validation_failed', message: error.message }, output);
    }
  }

  private follow(value: unknown, { type, output }: { type: string; output: string }): Value | undefined {
    const [from, index] = Array.isArray(value) && value.length === 2 ? (value as unknown[]) : [];
    if (from === undefined || !Number.isInteger(index))
      throw new WrongInput('bad_linked_input', `must be a link [node, output] to a ${type}`);
    const id = String(from);
    if (!Object.hasOwn(this.graph, id)) throw new WrongInput('bad_linked_input', `there is no node '${id}'`);
    const [given] = classOf(this.graph[id]!.class_type)!.outputs[index as number] ?? [];
    if (given !== type)
      throw new WrongInput('return_type_mismatch', `received ${given ?? 'nothing'}, which is no ${type}`);
    if (this.open.has(id)) throw new WrongInput('dependency_cycle', `node '${id}' needs what comes of it`);
    return this.read(id, output)?.[index as number];
  }
}

class WrongInput extends Error {
  constructor(
    readonly type: string,
    message: string,
  ) {
    super(message);
  }
}

type PlainInput = Extract<Input, { type: 'INT' | 'FLOAT' | 'STRING' | 'BOOLEAN' | 'COMBO' | 'UPLOAD' }>;
const plainTypes = ['INT', 'FLOAT', 'STRING', 'BOOLEAN', 'COMBO', 'UPLOAD'];
const isLinkType = (spec: Input): spec is Exclude<Input, PlainInput> => !plainTypes.includes(spec.type);

function plainValue(value: unknown, spec: PlainInput, around: Surroundings): string | number | boolean {
  if (typeof value === 'object')
    throw new WrongInput('invalid_input_type', 'must be a value here: no node gives plain values');
  switch (spec.type) {
    case 'INT':
    case 'FLOAT': {
      const number = typeof value === 'string' && value.trim() === '' ? Number.NaN : Number(value);
      if (!Number.isFinite(number)) throw new WrongInput('invalid_input_type', `is no ${spec.type}`);
      if (number < spec.min) throw new WrongInput('value_smaller_than_min', `Value smaller than min of ${spec.min}`);
      if (number > spec.max) throw new WrongInput('value_bigger_than_max', `Value bigger than max of ${spec.max}`);
      return spec.type === 'INT' ? Math.trunc(number) : number;
    }
    case 'BOOLEAN':
      if (typeof value !== 'boolean') throw new WrongInput('invalid_input_type', 'must be true or false');
      return value;
    case 'STRING':
      return String(value);
    case 'UPLOAD':
      if (around.uploads.get(String(value))) return String(value);
      throw new WrongInput('value_not_in_list', `no picture '${value}' was sent to /upload/image`);
    case 'COMBO': {
      const text = String(value);
      const choices = spec.choices(around);
      if (spec.open || choices.includes(text) || spec.find?.(text, around) !== undefined) return text;
      throw new WrongInput('value_not_in_list', `Value not in list: '${text}' not in [${choices.join(', ')}]`);
    }
  }
}
