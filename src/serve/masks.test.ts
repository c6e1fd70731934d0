/** Masks in each protocol's convention: what they leave stays, what they give away is drawn anew. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import OpenAI, { toFile } from 'openai';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Image } from '../images/image.ts';
import { bundledModel } from '../weights/bundled-model.ts';
import { listen } from './listen.ts';
import type { Server } from './server.ts';
import { ask, startServer } from './testing/start.ts';

/** The bundled model as one that inpaints. */
const folder = mkdtempSync(path.join(os.tmpdir(), 'inpaint-'));
afterAll(() => rmSync(folder, { recursive: true }));
for (const name of readdirSync(bundledModel())) symlinkSync(path.join(bundledModel(), name), path.join(folder, name));
const index = path.join(folder, 'model_index.json');
const about = JSON.parse(readFileSync(index, 'utf8'));
rmSync(index);
writeFileSync(index, JSON.stringify({ ...about, _class_name: 'FluxInpaintPipeline' }));

const size = 64;
/** Left half one value, right half another. */
const halves = (channels: 3 | 4, left: readonly number[], right: readonly number[]) =>
  new Image({
    width: size,
    height: size,
    channels,
    data: Uint8Array.from({ length: size * size * channels }, (_, i) => {
      const x = Math.floor(i / channels) % size;
      return (x < size / 2 ? left : right)[i % channels]!;
    }),
  }).encode('png');

let server: Server;
let client: OpenAI;
let close: () => Promise<void>;
let picture: Buffer;
beforeAll(async () => {
  server = await startServer({ model: [folder, bundledModel()] });
  const listening = await listen(server, { port: 0 });
  close = listening.close;
  client = new OpenAI({ baseURL: `${listening.address}/v1`, apiKey: 'any' });
  picture = Buffer.from(await halves(3, [250, 200, 60], [250, 200, 60]));
});
afterAll(() => close());

/** How far the two halves of a picture are from where it started, on average. */
async function changes(base64: string): Promise<[left: number, right: number]> {
  const { data } = await Image.load(Buffer.from(base64, 'base64'));
  const { data: start } = await Image.load(picture);
  const sums: [number, number] = [0, 0];
  for (const [i, level] of data.entries())
    sums[Math.floor(i / 3) % size < size / 2 ? 0 : 1] += Math.abs(level - start[i]!);
  return [sums[0] / data.length, sums[1] / data.length];
}
const expectLeftKept = async (base64: string) => {
  const [left, right] = await changes(base64);
  expect(right).toBeGreaterThan(3 * left);
};

const own = { seed: 3, num_inference_steps: 4, strength: 0.9, size: '64x64' } as object;
const edit = async (mask: Uint8Array, more: object = {}) =>
  client.images.edit({
    image: await toFile(picture, 'start.png', { type: 'image/png' }),
    mask: await toFile(mask, 'mask.png', { type: 'image/png' }),
    prompt: 'blue butterfly',
    ...own,
    ...more,
  });

it("OpenAI's: what is transparent", async () => {
  const { data } = await edit(await halves(4, [0, 0, 0, 255], [0, 0, 0, 0]));
  await expectLeftKept(data![0]!.b64_json!);
  await expect(edit(await halves(3, [0, 0, 0], [255, 255, 255]))).rejects.toMatchObject({ status: 400, param: 'mask' });
});

it('refused by a model that draws pictures as a whole', async () => {
  await client.models.retrieve('emoji-flux');
  await client.images.generate({ prompt: 'a', model: 'emoji-flux', ...own });
  await expect(edit(await halves(4, [0, 0, 0, 255], [0, 0, 0, 0]), { model: 'emoji-flux' })).rejects.toMatchObject({
    status: 400,
    param: 'mask',
  });
});

it("vLLM-Omni's, A1111's and the server's own: what is white", async () => {
  const mask = Buffer.from(await halves(3, [0, 0, 0], [255, 255, 255])).toString('base64');
  const inverted = Buffer.from(await halves(3, [255, 255, 255], [0, 0, 0])).toString('base64');
  const image = picture.toString('base64');
  const fields = { prompt: 'blue butterfly', ...own };
  const { body: omni } = await ask<{ data: { b64_json: string }[] }>(server, '/v1/images/edits', {
    body: { ...fields, image, mask_image: mask },
  });
  await expectLeftKept(omni.data[0]!.b64_json);
  const webui = {
    prompt: 'blue butterfly',
    seed: 3,
    steps: 4,
    denoising_strength: 0.9,
    width: size,
    height: size,
    init_images: [image],
  };
  for (const masked of [{ mask }, { mask: inverted, inpainting_mask_invert: 1 }]) {
    const { body } = await ask<{ images: string[] }>(server, '/sdapi/v1/img2img', { body: { ...webui, ...masked } });
    await expectLeftKept(body.images[0]!);
  }
  const job = {
    prompt: 'blue butterfly',
    seed: 3,
    numInferenceSteps: 4,
    strength: 0.9,
    width: size,
    height: size,
    image,
    maskImage: mask,
  };
  const { id } = (await ask<{ id: string }>(server, '/v1/jobs', { body: job })).body;
  const { result } = await server.core.jobs.finished(id);
  await expectLeftKept(Buffer.from(result!.files[0]!.bytes).toString('base64'));
});
