/** One graph through a server of one's own: its pictures sent, what it draws fetched. */
import path from 'node:path';
import { DejaDitError } from '../../errors/errors.ts';
import { readImageFile } from '../../images/read-file.ts';
import type { Server } from '../server.ts';
import type { Graph } from './graph/graph.ts';
import type { Input } from './graph/node.ts';
import { isModelName } from './nodes/loaders.ts';
import { nodeClasses } from './nodes/nodes.ts';
import type { FileName, NodeOutput } from './prompts.ts';

export interface Drawn extends FileName {
  bytes: Uint8Array;
}

export interface WorkflowResult {
  /** What is saved, or shown where nothing is. */
  files: Drawn[];
  /** What nodes say, as summaries of caches. */
  texts: string[];
  warnings: readonly string[];
}

interface History {
  outputs: Record<string, NodeOutput>;
  status: { completed: boolean; messages: [string, { exception_message?: string }][] };
  warnings?: string[];
}

/**
 * Runs a graph. With one model on the server, all names of models in the graph are its own.
 * @param pictures that the graph loads, by name
 * @throws DejaDitError what is wrong with the graph or went wrong
 */
export async function runWorkflow(
  server: Server,
  { graph, pictures }: { graph: Graph; pictures: ReadonlyMap<string, Uint8Array> },
): Promise<WorkflowResult> {
  for (const [name, bytes] of pictures) await send(server, name, bytes);
  const { prompt_id: id } = await ask<{ prompt_id: string }>(server, '/prompt', { prompt: withModel(graph, server) });
  const { running, queued, finished } = server.core.jobs.list();
  for (const job of [...running, ...queued, ...finished]) await server.core.jobs.finished(job.id);
  const history = await ask<Record<string, History>>(server, `/history/${id}`);
  const { outputs, status, warnings = [] } = history[id]!;
  if (!status.completed) {
    const [, { exception_message: why = 'the workflow was interrupted' }] = status.messages.at(-1)!;
    throw new DejaDitError('RUNTIME', why);
  }
  const shown = Object.values(outputs).flatMap(({ images = [] }) => images);
  const saved = shown.filter(({ type }) => type === 'output');
  const files = await Promise.all(
    (saved.length > 0 ? saved : shown).map(async (file) => {
      const answer = await server.fetch(new Request(`http://localhost/view?${new URLSearchParams({ ...file })}`));
      return { ...file, bytes: new Uint8Array(await answer.arrayBuffer()) };
    }),
  );
  return { files, warnings, texts: Object.values(outputs).flatMap(({ text = [] }) => text) };
}

/** A graph with the server's model for all names of models, if there is one. */
function withModel(graph: Graph, { core: { models } }: Server): Graph {
  const [model, ...others] = models.list();
  if (others.length > 0) return graph;
  const named = Object.entries(graph).map(([id, node]) => {
    const names = inputsOf(node, isModelName).map((input) => [input, model!.name]);
    return [id, { ...node, inputs: { ...node.inputs, ...Object.fromEntries(names) } }];
  });
  return Object.fromEntries(named);
}

/**
 * The pictures that a graph loads, by name.
 * @param folder where they are: the graph may be a stranger's, which gets none from elsewhere
 * @throws DejaDitError naming one that is not there
 */
export async function readPictures(graph: Graph, folder: string): Promise<Map<string, Uint8Array>> {
  const pictures = new Map<string, Uint8Array>();
  for (const node of Object.values(graph))
    for (const input of inputsOf(node, ({ type }) => type === 'UPLOAD')) {
      const name = String(node.inputs[input]).replace(/ \[input\]$/, '');
      if (path.isAbsolute(name) || name.split(/[/\\]/).includes('..'))
        throw new DejaDitError('INVALID_ARGUMENT', `'${name}' is not in the folder of the workflow`, { path: input });
      pictures.set(name, await readImageFile(path.join(folder, name)));
    }
  return pictures;
}

/** Inputs of a node that are of some kind. */
function inputsOf({ class_type: name }: Graph[string], isWanted: (input: Input) => boolean): string[] {
  const known = Object.hasOwn(nodeClasses, name) ? nodeClasses[name]!.inputs : {};
  return Object.keys(known).filter((input) => isWanted(known[input]!));
}

async function send(server: Server, name: string, bytes: Uint8Array): Promise<void> {
  const form = new FormData();
  const subfolder = path.dirname(name);
  form.set('image', new Blob([new Uint8Array(bytes)]), path.basename(name));
  if (subfolder !== '.') form.set('subfolder', subfolder);
  await answerTo(server, new Request('http://localhost/upload/image', { method: 'POST', body: form }));
}

function ask<Body>(server: Server, to: string, body?: object): Promise<Body> {
  const post = body && { method: 'POST', body: JSON.stringify(body) };
  return answerTo(server, new Request(`http://localhost${to}`, post)) as Promise<Body>;
}

interface Refusal {
  error: { message: string };
  node_errors: Record<string, { errors: { details: string }[] }>;
}

async function answerTo(server: Server, request: Request): Promise<unknown> {
  const answer = await server.fetch(request);
  const body: unknown = await answer.json();
  if (answer.ok) return body;
  const { error, node_errors: nodes } = body as Refusal;
  const wrong = Object.entries(nodes).flatMap(([id, { errors }]) =>
    errors.map(({ details }) => `node ${id}: ${details}`),
  );
  throw new DejaDitError('INVALID_ARGUMENT', wrong.length > 0 ? wrong.join('; ') : error.message);
}
