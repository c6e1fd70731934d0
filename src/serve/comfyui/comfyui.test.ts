/** ComfyUI's protocol as its clients speak it: one of theirs over a real socket, and requests as others make them. */
import { Client } from '@stable-canvas/comfyui-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { Image } from '../../images/image.ts';
import { readPngTexts } from '../../images/png-texts.ts';
import { readMetadata } from '../../images/read-metadata.ts';
import { listen } from '../listen.ts';
import type { Server } from '../server.ts';
import { ask, startServer } from '../testing/start.ts';
import { fileOf, graph, type History, type Refusal, refused, run } from './testing.ts';

let server: Server;
let address: string;
beforeAll(async () => {
  server = await startServer();
  const listening = await listen(server, { port: 0 });
  address = listening.address;
  afterAll(() => listening.close());
});

it('draws what the same request draws elsewhere, and tells in the file what from', async () => {
  const { history } = await run(server, graph());
  const bytes = await fileOf(server, history);
  const image = await Image.load(bytes);
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
    await run(server, graph());
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

describe('what was drawn before', () => {
  const jobs = () => server.core.jobs.list().finished.length;
  const cachedNodes = ({ status }: History) =>
    (status.messages.find(([event]) => event === 'execution_cached')![1]['nodes'] as string[]).sort();

  it('is not drawn again, whatever changes beside it', async () => {
    const first = await run(server, graph({ 3: { seed: 101 } }));
    const before = jobs();
    const again = await run(server, graph({ 3: { seed: 101 } }));
    expect(again.id).not.toBe(first.id);
    expect(again.history.outputs).toEqual(first.history.outputs);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const { body } = await ask<Record<string, History>>(server, `/history/${again.id}`);
    expect(cachedNodes(body[again.id]!)).toEqual(['3', '4', '5', '6', '7', '8', '9']);
    // At a cfg of 1 nobody reads the negative prompt.
    const renamed = await run(
      server,
      graph({ 3: { seed: 101 }, 7: { text: 'pear' }, 9: { filename_prefix: 'other' } }),
    );
    expect(renamed.history.outputs['9']!.images[0]!.filename).toMatch(/^other_/);
    const picture = async (history: History) => (await Image.load(await fileOf(server, history))).data;
    expect(await picture(renamed.history)).toEqual(await picture(first.history));
    expect(jobs()).toBe(before);
    await run(server, graph({ 3: { seed: 102 } }));
    expect(jobs()).toBe(before + 1);
  });

  it('stays for a prompt when another one that has it is forgotten, and goes with the last', async () => {
    const first = await run(server, graph({ 3: { seed: 103 } }));
    const second = await run(server, graph({ 3: { seed: 103 } }));
    await ask(server, '/history', { body: { delete: [first.id] } });
    await fileOf(server, second.history);
    const before = jobs();
    await ask(server, '/history', { body: { delete: [second.id] } });
    expect(jobs()).toBe(before - 1);
    await run(server, graph({ 3: { seed: 103 } }));
    expect(jobs()).toBe(before);
  });

  it('is told to a client over its socket', async () => {
    const client = new Client({
      api_host: address.replace('http://', ''),
      ssl: false,
      clientId: 'again',
      WebSocket: WebSocket as never,
    });
    client.connect();
    try {
      const draw = () => client.enqueue(graph({ 3: { seed: 104 } }) as never, { workflow: undefined });
      expect((await draw()).images).toHaveLength(1);
      expect((await draw()).images).toHaveLength(1);
    } finally {
      client.close();
    }
  });
});

it('writes graphs into PNGs as ComfyUI does', async () => {
  const workflow = { id: 'é', nodes: [] };
  const nodes = graph({ 3: { seed: 106 } });
  const { history } = await run(server, nodes, { extra_data: { extra_pnginfo: { workflow } } });
  const texts = readPngTexts(await fileOf(server, history), ['prompt', 'workflow']);
  expect(JSON.parse(texts.get('prompt')!)).toEqual(nodes);
  expect(JSON.parse(texts.get('workflow')!)).toEqual(workflow);
  const wrong = { prompt: graph(), extra_data: { extra_pnginfo: { '\u0000': 1 } } };
  expect((await ask<Refusal>(server, '/prompt', { body: wrong })).body.error.message).toMatch(
    /name of a text in a PNG/,
  );
});

it('lists prompts as jobs', async () => {
  const { id } = await run(server, graph({ 3: { seed: 105 } }), {
    extra_data: { extra_pnginfo: { workflow: { id: 'w' } } },
  });
  const { body } = await ask<{ jobs: Record<string, unknown>[]; pagination: object }>(
    server,
    '/api/jobs?limit=1&status=completed',
  );
  expect(body.jobs).toEqual([
    expect.objectContaining({
      id,
      status: 'completed',
      outputs_count: 1,
      workflow_id: 'w',
      preview_output: expect.objectContaining({ nodeId: '9' }),
    }),
  ]);
  expect((await ask(server, `/api/jobs/${id}`)).body).toMatchObject({
    outputs: { 9: {} },
    workflow: { prompt: graph({ 3: { seed: 105 } }) },
  });
  expect((await ask(server, '/api/jobs/none')).status).toBe(404);
  expect((await ask(server, '/api/jobs?status=odd')).status).toBe(400);
});

describe('refusals', () => {
  it.each([
    [{ 3: { scheduler: 'karras' } }, '3', 'value_not_in_list', /'karras' not in \[automatic, simple\]/],
    [{ 3: { sampler_name: 'dpm_adaptive' } }, '3', 'value_not_in_list', /'dpm_adaptive' not in/],
    [{ 3: { steps: 0 } }, '3', 'value_smaller_than_min', /min of 1/],
    [{ 3: { steps: 10001 } }, '3', 'value_bigger_than_max', /max of 10000/],
    [{ 3: { steps: 'many' } }, '3', 'invalid_input_type', /is no INT/],
    [{ 3: { steps: ['5', 0] } }, '3', 'invalid_input_type', /must be a value here/],
    [{ 3: { model: undefined } }, '3', 'required_input_missing', /missing/],
    [{ 3: { model: ['5', 0] } }, '3', 'return_type_mismatch', /LATENT/],
    [{ 3: { model: ['99', 0] } }, '3', 'bad_linked_input', /no node '99'/],
    [{ 3: { latent_image: ['3', 0] } }, '3', 'dependency_cycle', /needs what comes of it/],
    [{ 3: { denoise: 0.5 } }, '3', 'custom_validation_failed', /no picture to start from/],
    [{ 4: { ckpt_name: 'sd15.safetensors' } }, '4', 'value_not_in_list', /emoji-flux/],
  ])('%j', async (changes, node, type, message) => {
    const { error, node_errors: nodes } = await refused(server, graph(changes as never));
    expect(error.type).toBe('prompt_outputs_failed_validation');
    expect(nodes[node]!.errors[0]).toMatchObject({ type, message: expect.stringMatching(message) });
  });

  it('names a node that it has not, and what could stand for it', async () => {
    const { error } = await refused(server, { ...graph(), 30: { class_type: 'SamplerCustom', inputs: {} } });
    expect(error).toMatchObject({
      type: 'missing_node_type',
      message: "Node 'SamplerCustom' not found; in its place: KSampler",
    });
  });

  it.each([
    [{}, 'no_prompt'],
    [{ prompt: 5 }, 'no_prompt'],
    [{ prompt: { 3: { inputs: {} } } }, 'invalid_prompt'],
    [{ prompt: Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [i, graph()['4']])) }, 'invalid_prompt'],
  ])('a body without a graph, %#', async (body, type) => {
    const answer = await ask<Refusal>(server, '/prompt', { body });
    expect([answer.status, answer.body.error.type]).toEqual([400, type]);
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
    expect((await refused(server, prompt)).error.type).toBe('prompt_no_outputs');
  });
});

it('answers what clients ask before they begin', async () => {
  const info = await ask<Record<string, { input: { required: Record<string, [string[]]> } }>>(server, '/object_info');
  expect(info.body['CheckpointLoaderSimple']!.input.required['ckpt_name']![0]).toEqual(['emoji-flux']);
  expect(info.body['KSampler']!.input.required['sampler_name']![0]).toContain('euler');
  expect((await ask(server, '/api/object_info/Nothing')).body).toEqual({});
  expect((await ask(server, '/prompt')).body).toEqual({ exec_info: { queue_remaining: 0 } });
  for (const name of [
    'system_stats',
    'features',
    'embeddings',
    'extensions',
    'models',
    'queue',
    'history',
    'users',
    'settings',
  ])
    for (const path of [`/${name}`, `/api/${name}`]) expect((await ask(server, path)).status, path).toBe(200);
  expect((await ask(server, '/view?filename=../../etc/passwd')).status).toBe(404);
});
