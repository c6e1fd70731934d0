/** The server on a GPU, and what it says where there is none. */
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { hasWebGpu } from '../../tests/webgpu.ts';
import { Image } from '../images/image.ts';
import { psnr } from '../metrics/pixel-errors.ts';
import { DiffusionPipeline } from '../pipelines/diffusion-pipeline.ts';
import { bundledModel } from '../weights/bundled-model.ts';
import { createServer, type Server } from './server.ts';
import { ask, startServer } from './testing/start.ts';

const root = mkdtempSync(path.join(tmpdir(), 'deja-dit-serve-'));
afterAll(() => rmSync(root, { recursive: true }));
const other = path.join(root, 'other-model');
symlinkSync(bundledModel(), other);

type Drawn = { data: { b64_json: string }[] };
type Models = { data: { id: string; state: string; backend?: string; bytes?: number }[] };

const options = { prompt: 'red apple', seed: 7, num_inference_steps: 2, size: '64x64' };
const draw = async (server: Server, model: string) => {
  const { body, status } = await ask<Drawn>(server, '/v1/images/generations', { body: { ...options, model } });
  expect(status, JSON.stringify(body)).toBe(200);
  return Image.load(Buffer.from(body.data[0]!.b64_json, 'base64'));
};
const models = async (server: Server) => (await ask<Models>(server, '/v1/models')).body.data;

describe.runIf(hasWebGpu)('a server on a GPU', () => {
  it('has all its models there, and draws what the processor draws', async () => {
    await using pipe = await DiffusionPipeline.fromPretrained(bundledModel());
    const expected = (
      await pipe.generate({ prompt: 'red apple', seed: 7, numInferenceSteps: 2, width: 64, height: 64 })
    ).images[0]!;
    const server = await startServer({
      model: [bundledModel(), other],
      backend: 'auto',
      computeDtype: 'float32',
    });
    const pictures = await Promise.all(['emoji-flux', 'other-model'].map((name) => draw(server, name)));
    for (const picture of pictures) expect(psnr(picture, expected)).toBeGreaterThan(60);
    const weights = pipe.programs.backend.live.bytes;
    for (const { state, backend, bytes } of await models(server)) {
      expect([state, backend]).toEqual(['loaded', 'webgpu (worker thread)']);
      expect(bytes! / weights).toBeCloseTo(1, 1);
    }
  }, 600_000);
});

describe.skipIf(hasWebGpu)('a server without a GPU', () => {
  it("computes on the processor if it is to take what there is ('auto')", async () => {
    const server = await startServer({ backend: 'auto', threads: 1 });
    expect((await models(server))[0]!.backend).toMatch(/^(cpu|wasm) \(worker thread\)$/);
  });

  it('says why it cannot be on one', async () => {
    await using server = createServer({ backend: 'webgpu' });
    await expect(server.ready).rejects.toThrow(/webgpu/);
  });
});

it('does not compute in float16 on a processor', async () => {
  await using server = createServer({ backend: 'cpu', computeDtype: 'float16' });
  await expect(server.ready).rejects.toThrow(/computeDtype: the backend 'cpu \(worker thread\)' does not compute in/);
});
