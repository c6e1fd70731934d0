/** LoRAs that requests name, in each protocol's way: what one gets with a LoRA is what it gets from a pipeline that has it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Image } from '../images/image.ts';
import { DiffusionPipeline } from '../pipelines/diffusion-pipeline.ts';
import { loadLora } from '../pipelines/lora/lora.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import { floatTensor } from '../tensor/tensor.ts';
import { bundledModel } from '../weights/bundled-model.ts';
import { writeSafetensors } from '../weights/safetensors/write-safetensors.ts';
import type { Server } from './server.ts';
import { ask, levels, startServer } from './testing/start.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'loras-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Of rank 2, on a layer of the bundled model that is 256 wide. */
const lora = (seed: number, width = 256) => {
  const numbers = (count: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(seed + i * i) / 4);
  const layer = 'transformer.transformer_blocks.0.attn.to_q';
  return {
    [`${layer}.lora_A.weight`]: floatTensor(numbers(2 * width), [2, width]),
    [`${layer}.lora_B.weight`]: floatTensor(numbers(2 * width), [width, 2]),
  };
};
const [style, other] = [lora(1), lora(2)];

let server: Server;
let pipe: Pipeline;
beforeAll(async () => {
  await writeSafetensors(path.join(folder, 'style.safetensors'), style);
  await writeSafetensors(path.join(folder, 'other.safetensors'), other);
  await writeSafetensors(path.join(folder, 'wide.safetensors'), lora(3, 128));
  writeFileSync(path.join(folder, 'notes.txt'), 'none of them');
  server = await startServer({ loraDir: folder });
  pipe = await DiffusionPipeline.fromPretrained(bundledModel());
  await loadLora(pipe, style, { name: 'style', strength: 0 });
  await loadLora(pipe, other, { name: 'other', strength: 0 });
});
afterAll(() => pipe.dispose());

const draw = { prompt: 'red apple', seed: 7, num_inference_steps: 2, size: '64x64' };
const expected = async (loras: Record<string, number>) => {
  const { prompt, seed, num_inference_steps: numInferenceSteps } = draw;
  return (await pipe.generate({ prompt, seed, numInferenceSteps, width: 64, height: 64, loras })).images[0]!;
};
const drawn = async (fields: object) => {
  const { status, body } = await ask<{ data: { b64_json: string }[] }>(server, '/v1/images/generations', {
    body: { ...draw, ...fields },
  });
  expect(status, JSON.stringify(body)).toBe(200);
  return Image.load(Buffer.from(body.data[0]!.b64_json, 'base64'));
};
const post = (route: string, body: object) => ask<{ detail?: string; status?: string }>(server, route, { body });

it('acts on the requests that name it, beside others that do not', async () => {
  const [plain, half, two, again] = await Promise.all([
    drawn({}),
    drawn({ loras: { style: 0.5 } }),
    drawn({ loras: { style: 1, other: -0.5 } }),
    // As vLLM-Omni's clients write it.
    drawn({ lora: { name: 'style', scale: 0.5 } }),
  ]);
  expect(levels(plain!, await expected({}))).toBeLessThanOrEqual(1);
  expect(levels(half!, await expected({ style: 0.5 }))).toBeLessThanOrEqual(1);
  expect(levels(two!, await expected({ style: 1, other: -0.5 }))).toBeLessThanOrEqual(1);
  expect(levels(again!, half!)).toBeLessThanOrEqual(1);
  expect(levels(half!, plain!)).toBeGreaterThan(5);
});

it("is named in the prompts of A1111's clients", async () => {
  const body = { seed: 7, steps: 2, width: 64, height: 64, prompt: 'red apple <lora:style:0.5>' };
  const { body: answer } = await ask<{ images: string[]; info: string }>(server, '/sdapi/v1/txt2img', { body });
  const image = await Image.load(Buffer.from(answer.images[0]!, 'base64'));
  expect(levels(image, await expected({ style: 0.5 }))).toBeLessThanOrEqual(1);
  expect((await ask<unknown[]>(server, '/sdapi/v1/loras')).body).toMatchObject([
    { name: 'other' },
    { name: 'style' },
    { name: 'wide' },
  ]);
  const wrong = await ask<{ detail: string }>(server, '/sdapi/v1/txt2img', {
    body: { ...body, prompt: '<lora:stile:1>' },
  });
  expect(wrong).toMatchObject({
    status: 404,
    body: { detail: expect.stringMatching(/no LoRA 'stile'; did you mean style\?/) },
  });
  const none = await ask<{ detail: string }>(server, '/sdapi/v1/txt2img', {
    body: { ...body, prompt: '<lora:style:much>' },
  });
  expect(none.status).toBe(422);
});

it('is refused where there is none of that name, or it fits no layer, and others go on', async () => {
  const refused = (loras: unknown) =>
    ask<{ error: { message: string } }>(server, '/v1/images/generations', { body: { ...draw, loras } });
  for (const name of ['nobody', '../style', '/etc/passwd', ''])
    expect((await refused({ [name]: 1 })).status, name).toBe(404);
  expect((await refused({ style: 'much' })).status).toBe(400);
  const [wide, plain] = await Promise.all([refused({ wide: 1 }), drawn({})]);
  expect(wide).toMatchObject({ status: 400, body: { error: { message: expect.stringMatching(/to_q/) } } });
  expect(levels(plain, await expected({}))).toBeLessThanOrEqual(1);
});

it("is set for all by SGLang's routes", async () => {
  const set = await post('/v1/set_lora', {
    lora_nickname: 'mine',
    lora_path: 'somewhere/style.safetensors',
    strength: 0.5,
  });
  expect(set).toMatchObject({ status: 200, body: { status: 'ok' } });
  expect((await ask(server, '/v1/list_loras')).body).toEqual({
    loaded_adapters: [{ nickname: 'mine', path: 'style' }],
    active: { transformer: [{ nickname: 'mine', path: 'style', merged: false, strength: 0.5 }] },
    available: ['other', 'style', 'wide'],
  });
  expect(levels(await drawn({}), await expected({ style: 0.5 }))).toBeLessThanOrEqual(1);
  expect(levels(await drawn({ loras: {} }), await expected({}))).toBeLessThanOrEqual(1);
  await post('/v1/unmerge_lora_weights', {});
  expect(levels(await drawn({}), await expected({}))).toBeLessThanOrEqual(1);
  await post('/v1/merge_lora_weights', { strength: 1 });
  expect(levels(await drawn({}), await expected({ style: 1 }))).toBeLessThanOrEqual(1);
  const both = { lora_nickname: ['mine', 'other'], lora_path: [null, 'other'], strength: [1, -0.5], target: 'all' };
  expect((await post('/v1/set_lora', both)).status).toBe(200);
  expect(levels(await drawn({}), await expected({ style: 1, other: -0.5 }))).toBeLessThanOrEqual(1);
  // What cannot be loaded is told at once, and changes nothing.
  expect(await post('/v1/set_lora', { lora_nickname: 'wide' })).toMatchObject({
    status: 400,
    body: { detail: expect.stringMatching(/to_q/) },
  });
  expect((await post('/v1/set_lora', { lora_nickname: 'a', lora_path: '/etc/passwd' })).status).toBe(404);
  expect((await post('/v1/set_lora', { lora_nickname: 'other', target: 'transformer_2' })).status).toBe(400);
  expect(levels(await drawn({}), await expected({ style: 1, other: -0.5 }))).toBeLessThanOrEqual(1);
});

it("answers SGLang's questions about itself", async () => {
  expect((await ask(server, '/server_info')).body).toMatchObject({ models: ['emoji-flux'], max_running_requests: 8 });
  expect((await ask(server, '/model_info')).body).toMatchObject({ pipeline_class: 'FluxPipeline', task_type: 'T2I' });
  const answer = await server.fetch(new Request('http://localhost/health_generate'));
  expect([answer.status, await answer.text()]).toEqual([200, 'OK']);
});
