/** What tests of this protocol share: a graph, and a client of it without a socket. */
import { expect } from 'vitest';
import { Image } from '../../images/image.ts';
import type { Server } from '../server.ts';
import { ask } from '../testing/start.ts';

export type Nodes = Record<string, { class_type: string; inputs: Record<string, unknown> }>;
export type Changes = Record<string, Record<string, unknown>>;

export interface History {
  outputs: Record<
    string,
    { images: { filename: string; subfolder: string; type: string }[]; animated?: boolean[]; text?: string[] }
  >;
  status: { status_str: string; completed: boolean; messages: [string, Record<string, unknown>][] };
  warnings?: string[];
}

export interface Refusal {
  error: { type: string; message: string };
  node_errors: Record<string, { class_type: string; errors: { type: string; message: string }[] }>;
}

/** Text to image, as ComfyUI exports it. */
export function graph(changes: Changes = {}): Nodes {
  const nodes: Nodes = {
    4: { class_type: 'CheckpointLoaderSimple', inputs: { ckpt_name: 'emoji-flux.safetensors' } },
    5: { class_type: 'EmptyLatentImage', inputs: { width: 64, height: 64, batch_size: 1 } },
    6: { class_type: 'CLIPTextEncode', inputs: { text: 'red apple', clip: ['4', 1] } },
    7: { class_type: 'CLIPTextEncode', inputs: { text: '', clip: ['4', 1] } },
    3: {
      class_type: 'KSampler',
      inputs: {
        model: ['4', 0],
        seed: 7,
        steps: 4,
        cfg: 1,
        sampler_name: 'euler',
        scheduler: 'simple',
        positive: ['6', 0],
        negative: ['7', 0],
        latent_image: ['5', 0],
        denoise: 1,
      },
    },
    8: { class_type: 'VAEDecode', inputs: { samples: ['3', 0], vae: ['4', 2] } },
    9: { class_type: 'SaveImage', inputs: { images: ['8', 0], filename_prefix: 'fruit/apple' } },
  };
  return changed(nodes, changes);
}

/** A graph with other inputs of its nodes. */
export function changed(nodes: Nodes, changes: Changes): Nodes {
  for (const [id, inputs] of Object.entries(changes)) Object.assign(nodes[id]!.inputs, inputs);
  return nodes;
}

/** Waits until a prompt is over. */
export async function run(
  server: Server,
  prompt: object,
  more: object = {},
): Promise<{ id: string; history: History }> {
  const { status, body } = await ask<{ prompt_id: string }>(server, '/prompt', { body: { prompt, ...more } });
  expect(status, JSON.stringify(body)).toBe(200);
  for (;;) {
    const { body: all } = await ask<Record<string, History>>(server, `/history/${body.prompt_id}`);
    const history = all[body.prompt_id];
    if (history) return { id: body.prompt_id, history };
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The first file that a node shows. */
export async function fileOf(server: Server, history: History, node = '9'): Promise<Uint8Array<ArrayBuffer>> {
  expect(history.status, JSON.stringify(history)).toMatchObject({ status_str: 'success', completed: true });
  const query = new URLSearchParams(history.outputs[node]!.images[0]!);
  const answer = await server.fetch(new Request(`http://localhost/api/view?${query}`));
  expect(answer.status).toBe(200);
  return new Uint8Array(await answer.arrayBuffer());
}

/** What a graph draws. */
export async function draw(server: Server, prompt: object, node = '9'): Promise<Image> {
  return Image.load(await fileOf(server, (await run(server, prompt)).history, node));
}

export async function refused(server: Server, prompt: object): Promise<Refusal> {
  const { status, body } = await ask<Refusal>(server, '/prompt', { body: { prompt } });
  expect(status, JSON.stringify(body)).toBe(400);
  return body;
}

export async function send(server: Server, path: string, fields: Record<string, string | Blob>, name = 'start.png') {
  const form = new FormData();
  for (const [field, value] of Object.entries(fields))
    if (typeof value === 'string') form.set(field, value);
    else form.set(field, value, name);
  const answer = await server.fetch(new Request(`http://localhost${path}`, { method: 'POST', body: form }));
  return { status: answer.status, body: (await answer.json()) as { name: string; subfolder: string; type: string } };
}
