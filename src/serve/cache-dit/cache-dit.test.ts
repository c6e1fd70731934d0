/** Requests as cache-dit 1.3.5's documentation has them, and its answers. */
import { beforeAll, describe, expect, it } from 'vitest';
import { Image } from '../../images/image.ts';
import type { Server } from '../server.ts';
import { ask, startServer } from '../testing/start.ts';

let server: Server;
beforeAll(async () => {
  server = await startServer({ cache: { cacheConfig: { residualDiffThreshold: 1, maxWarmupSteps: 1 } } });
});
const draw = { prompt: 'red apple', width: 64, height: 64, num_inference_steps: 4, seed: 7 };

it('tells of its model', async () => {
  expect((await ask(server, '/get_model_info')).body).toEqual({
    model_path: expect.stringMatching(/emoji-flux$/),
    device: 'cpu',
    torch_dtype: 'torch.float32',
    enable_cache: true,
    is_loaded: true,
  });
  expect((await ask(server, '/flush_cache', { method: 'POST' })).body).toEqual({
    message: 'Cache flushed successfully',
  });
});

it('draws, with statistics if they are asked for', async () => {
  const { status, body } = await ask<{ images: string[] } & Record<string, unknown>>(server, '/generate', {
    body: { ...draw, num_images: 2, guidance_scale: '1.5', include_stats: true, some_key: 1 },
  });
  expect(status).toBe(200);
  expect(body).toEqual({
    images: [expect.any(String), expect.any(String)],
    stats: {
      cache_stats: [
        { cache_options: expect.stringMatching(/^DBCache_F1B0_W1/), cached_steps: [1, 2, 3], parallelism_config: null },
      ],
    },
    time_cost: expect.any(Number),
    inference_start_time: expect.stringMatching(/Z$/),
    inference_end_time: expect.stringMatching(/Z$/),
  });
  const image = await Image.load(Buffer.from(body.images[1]!, 'base64'));
  expect(image).toMatchObject({ width: 64, height: 64 });
  const edited = await ask<{ images: string[] }>(server, '/generate', {
    body: { ...draw, image_urls: [body.images[0]] },
  });
  expect(edited.body.images).toHaveLength(1);
});

describe('errors', () => {
  it.each([
    [{ ...draw, width: 63 }, 422, { detail: [{ loc: ['body', 'width'] }] }],
    [{ width: 64 }, 422, { detail: [{ loc: ['body', 'prompt'] }] }],
    [{ ...draw, width: 72 }, 400, { detail: expect.stringMatching(/^Generation failed: width: .*multiple of 16/) }],
    [{ ...draw, image_urls: ['/etc/passwd'] }, 400, { detail: expect.stringMatching(/image/) }],
    [{ ...draw, output_format: 'path', output_dir: '/tmp' }, 400, { detail: expect.stringMatching(/writes no files/) }],
    [{ ...draw, num_frames: 9 }, 400, { detail: expect.stringMatching(/numFrames/) }],
    ['{', 400, { detail: expect.stringMatching(/JSON/) }],
  ])('%j', async (body, status, expected) => {
    const answer = await ask(server, '/generate', { body });
    expect(answer).toMatchObject({ status, body: expected });
  });
});
