/** ComfyUI's protocol as its clients speak it: one of theirs over a real socket, and requests as others make them. */
import { Client } from '@stable-canvas/comfyui-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { Image } from '../../images/image.ts';
import { readMetadata } from '../../images/read-metadata.ts';
import { listen } from '../listen.ts';
import type { Server } from '../server.ts';
import { ask, startServer } from '../testing/start.ts';

type Node = { class_type: string; inputs: Record<string, unknown> };

/** Text to image, as ComfyUI exports it. */
function graph(changes: Record<string, Record<string, unknown>> = {}): Record<string, Node> {
  const nodes: Record<string, Node> = {
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
  for (const [id, inputs] of Object.entries(changes)) Object.assign(nodes[id]!.inputs, inputs);
  return nodes;
}

interface History {
  outputs: Record<string, { images: { filename: string; subfolder: string; type: string }[] }>;
  status: { status_str: string; completed: boolean; messages: [string, Record<string, unknown>][] };
}
interface Refusal {
  error: { type: string; message: string };
  node_errors: Record<string, { class_type: string; errors: { type: string; message: string }[] }>;
}

let server: Server;
let address: string;
beforeAll(async () => {
  server = await startServer();
  const listening = await listen(server, { port: 0 });
  address = listening.address;
  afterAll(() => listening.close());
});

async function run(prompt: object): Promise<{ id: string; history: History }> {
  const { status, body } = await ask<{ prompt_id: string }>(server, '/prompt', { body: { prompt } });
  expect(status, JSON.stringify(body)).toBe(200);
  for (;;) {
    const { body: all } = await ask<Record<string, History>>(server, `/history/${body.prompt_id}`);
    const history = all[body.prompt_id];
    if (history) return { id: body.prompt_id, history };
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function picture(history: History, node = '9'): Promise<{ bytes: Uint8Array; image: Image }> {
  expect(history.status, JSON.stringify(history)).toMatchObject({ status_str: 'success', completed: true });
  const query = new URLSearchParams(history.outputs[node]!.images[0]!);
  const answer = await server.fetch(new Request(`http://localhost/api/view?${query}`));
  expect(answer.status).toBe(200);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  return { bytes, image: await Image.load(bytes) };
}

it('draws what the same request draws elsewhere, and tells in the file what from', async () => {
  const { history } = await run(graph());
  const { bytes, image } = await picture(history);
  expect(history.outputs['9']!.images[0]).toEqual({
    filename: 'apple_00001_.png',
    subfolder: 'fruit',
    type: 'output',
  });
  expect(await readMetadata(bytes)).toMatchObject({ seed: 7, prompt: 'red apple' });
  const options = {
    prompt: 'red apple',
    seed: 7,
    numInferenceSteps: 4,
    width: 64,
    height: 64,
    scheduler: 'euler simple',
  };
  const job = server.core.jobs.submit({ kind: 'generate', input: { options } });
  const [file] = (await server.core.jobs.finished(job.id)).result!.files;
  expect(image.data).toEqual((await Image.load(file!.bytes)).data);
});

describe('a client over its socket', () => {
  it('draws with @stable-canvas/comfyui-client', async () => {
    const client = new Client({
      api_host: address.replace('http://', ''),
      ssl: false,
      clientId: 'canvas',
      WebSocket: WebSocket as never,
    });
    client.connect();
    try {
      const { images } = await client.enqueue(graph({ 3: { steps: 12 } }) as never, { workflow: undefined });
      expect(images).toHaveLength(1);
    } finally {
      client.close();
    }
  });

  it('hears all that happens to its prompt, in order, and nothing of others', async () => {
    const socket = new WebSocket(`${address.replace('http', 'ws')}/ws?clientId=mine`);
    const heard: { type: string; data: Record<string, unknown> }[] = [];
    let previews = 0;
    const over = new Promise<void>((resolve) => {
      socket.on('message', (data: Buffer, isBinary) => {
        if (isBinary) {
          expect([data.readUInt32BE(0), data.readUInt32BE(4), data[8]]).toEqual([1, 1, 0xff]);
          previews++;
          return;
        }
        heard.push(JSON.parse(data.toString()));
        if (heard.at(-1)!.type === 'executing' && heard.at(-1)!.data['node'] === null) resolve();
      });
    });
    await new Promise((resolve) => socket.on('open', resolve));
    await run(graph());
    const { body } = await ask<{ prompt_id: string }>(server, '/api/prompt', {
      body: { prompt: graph({ 3: { steps: 8 } }), client_id: 'mine' },
    });
    await over;
    socket.close();
    const types = heard.map(({ type }) => type);
    expect(previews).toBe(3);
    expect(heard[0]).toMatchObject({ type: 'status', data: { sid: 'mine' } });
    const own = heard.filter(({ type }) => type !== 'status');
    expect(new Set(own.map(({ data }) => data['prompt_id']))).toEqual(new Set([body.prompt_id]));
    expect(types.filter((type) => type === 'progress')).toHaveLength(8);
    expect(own[0]!.type).toBe('execution_start');
    expect(own.slice(-3).map(({ type }) => type)).toEqual(['executed', 'execution_success', 'executing']);
  });
});

it('is interrupted', async () => {
  const { body } = await ask<{ prompt_id: string }>(server, '/prompt', {
    body: { prompt: graph({ 3: { steps: 150 } }) },
  });
  const queue = async () => (await ask<{ queue_running: unknown[][] }>(server, '/queue')).body.queue_running;
  while ((await queue()).length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  expect((await queue())[0]![1]).toBe(body.prompt_id);
  const answer = await server.fetch(new Request('http://localhost/interrupt', { method: 'POST' }));
  expect(answer.status).toBe(200);
  while ((await queue()).length > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  const { body: all } = await ask<Record<string, History>>(server, `/history/${body.prompt_id}`);
  expect(all[body.prompt_id]!.status.status_str).toBe('error');
  expect(all[body.prompt_id]!.status.messages.at(-1)![0]).toBe('execution_interrupted');
});

it('starts from a picture that was sent, and draws as many steps as it is told', async () => {
  const drawn = await picture((await run(graph())).history);
  const form = new FormData();
  form.set('image', new Blob([new Uint8Array(drawn.bytes)]), 'start.png');
  const sent = await server.fetch(new Request('http://localhost/upload/image', { method: 'POST', body: form }));
  expect(await sent.json()).toEqual({ name: 'start.png', subfolder: '', type: 'input' });
  const nodes = {
    ...graph({ 3: { latent_image: ['11', 0], denoise: 0.3, steps: 5 } }),
    10: { class_type: 'LoadImage', inputs: { image: 'start.png' } },
    11: { class_type: 'VAEEncode', inputs: { pixels: ['10', 0], vae: ['4', 2] } },
  };
  const { history } = await run(nodes);
  const { image } = await picture(history);
  expect([image.width, image.height]).toEqual([64, 64]);
  const [job] = server.core.jobs.list().finished;
  expect(job!.progress.steps).toBe(5);
});

it.each([
  ['EasyCache', { reuse_threshold: 3, start_percent: 0.15, end_percent: 0.95, verbose: false }],
  [
    'CacheDiT_Model_Optimizer',
    { enable: true, model_type: 'Custom', warmup_steps: 2, skip_interval: 0, print_summary: true },
  ],
  ['DejaDitCache', { enable: true, error_budget: 0.5 }],
])('%s caches', async (name, inputs) => {
  const cached = {
    ...graph({ 3: { steps: 12, model: ['20', 0] } }),
    20: { class_type: name, inputs: { ...inputs, model: ['4', 0] } },
  };
  await picture((await run(cached)).history);
  const [job] = server.core.jobs.list().finished;
  expect(job!.result!.report.summary.length).toBeGreaterThan(0);
  if (name !== 'CacheDiT_Model_Optimizer') expect(job!.result!.report.reusedSteps).toBeGreaterThan(0);
});

describe('refusals', () => {
  const refused = async (prompt: object) => {
    const { status, body } = await ask<Refusal>(server, '/prompt', { body: { prompt } });
    expect(status).toBe(400);
    return body;
  };
  it.each([
    [{ 3: { scheduler: 'karras' } }, '3', 'value_not_in_list', /'karras' not in \[automatic, simple\]/],
    [{ 3: { sampler_name: 'dpm_adaptive' } }, '3', 'value_not_in_list', /'dpm_adaptive' not in/],
    [{ 3: { steps: 0 } }, '3', 'value_smaller_than_min', /min of 1/],
    [{ 3: { model: undefined } }, '3', 'required_input_missing', /missing/],
    [{ 3: { model: ['5', 0] } }, '3', 'return_type_mismatch', /LATENT/],
    [{ 3: { model: ['99', 0] } }, '3', 'bad_linked_input', /no node '99'/],
    [{ 3: { latent_image: ['3', 0] } }, '3', 'dependency_cycle', /needs what comes of it/],
    [{ 3: { denoise: 0.5 } }, '3', 'custom_validation_failed', /no picture to start from/],
    [{ 4: { ckpt_name: 'sd15.safetensors' } }, '4', 'value_not_in_list', /emoji-flux/],
  ])('%j', async (changes, node, type, message) => {
    const { error, node_errors: nodes } = await refused(graph(changes as never));
    expect(error.type).toBe('prompt_outputs_failed_validation');
    expect(nodes[node]!.errors[0]).toMatchObject({ type, message: expect.stringMatching(message) });
  });

  it('names a node that it has not, and what could stand for it', async () => {
    const { error } = await refused({ ...graph(), 30: { class_type: 'KSamplerAdvanced', inputs: {} } });
    expect(error).toMatchObject({
      type: 'missing_node_type',
      message: "Node 'KSamplerAdvanced' not found; in its place: KSampler",
    });
  });

  it('a part of a graph, which would be run as a whole', async () => {
    const body = { prompt: graph(), partial_execution_targets: ['9'] };
    const answer = await ask<Refusal>(server, '/prompt', { body });
    expect([answer.status, answer.body.error.message]).toEqual([
      400,
      expect.stringMatching(/^partial_execution_targets: /),
    ]);
  });

  it.each([[{}], [{ 4: graph()['4']! }]])('a graph without an output: %j', async (prompt) => {
    expect((await refused(prompt)).error.type).toBe('prompt_no_outputs');
  });
});

it('answers what clients ask before they begin', async () => {
  const info = await ask<Record<string, { input: { required: Record<string, [string[]]> } }>>(server, '/object_info');
  expect(info.body['CheckpointLoaderSimple']!.input.required['ckpt_name']![0]).toEqual(['emoji-flux']);
  expect(info.body['KSampler']!.input.required['sampler_name']![0]).toContain('euler');
  expect((await ask(server, '/api/object_info/Nothing')).body).toEqual({});
  expect((await ask(server, '/prompt')).body).toEqual({ exec_info: { queue_remaining: 0 } });
  for (const name of ['system_stats', 'features', 'embeddings', 'extensions', 'models', 'queue', 'history'])
    for (const path of [`/${name}`, `/api/${name}`]) expect((await ask(server, path)).status, path).toBe(200);
  expect((await ask(server, '/view?filename=../../etc/passwd')).status).toBe(404);
});
