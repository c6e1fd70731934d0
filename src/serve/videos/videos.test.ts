/** Videos as the `openai` client asks for them, of the smallest video pipeline among the recordings. */
import { rmSync } from 'node:fs';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { assembleCheckpoint, readRecording } from '../../pipelines/testing/recorded.ts';
import { type Listening, listen } from '../listen.ts';
import { startServer } from '../testing/start.ts';

const root = assembleCheckpoint(readRecording('wan').checkpoint);
afterAll(() => rmSync(root, { recursive: true }));

let client: OpenAI;
let listening: Listening;
beforeAll(async () => {
  listening = await listen(await startServer({ model: root }), { port: 0 });
  client = new OpenAI({ baseURL: `${listening.address}/v1`, apiKey: 'any', maxRetries: 0 });
});
afterAll(() => listening.close());

const small = { num_frames: 5, width: 32, height: 32, num_inference_steps: 2, seed: 7 };

it('is drawn, asked for, fetched, listed and deleted', async () => {
  const created = await client.videos.create({ prompt: 'a cat', ...(small as object) });
  expect(created).toMatchObject({ object: 'video', status: expect.stringMatching(/queued|in_progress/), error: null });
  const done = await vi.waitFor(
    async () => {
      const video = await client.videos.retrieve(created.id);
      expect(video.status).toBe('completed');
      return video;
    },
    { timeout: 60_000, interval: 100 },
  );
  expect(done).toMatchObject({ progress: 100, size: '32x32', num_frames: 5, prompt: 'a cat' });
  const content = await client.videos.downloadContent(created.id);
  // Without ffmpeg an animated WebP, which a warning says.
  expect(content.headers.get('content-type')).toMatch(/^(video\/mp4|image\/webp)$/);
  expect((await content.arrayBuffer()).byteLength).toBeGreaterThan(100);
  expect((await client.videos.list()).data.map(({ id }) => id)).toEqual([created.id]);
  expect(await client.videos.delete(created.id)).toMatchObject({ id: created.id, deleted: true });
  await expect(client.videos.retrieve(created.id)).rejects.toMatchObject({ status: 404 });
});

it('says what went wrong', async () => {
  const { id } = await client.videos
    .create({ prompt: 'a cat', ...({ ...small, num_frames: 4.5 } as object) })
    .catch(({ status }) => ({ id: status }));
  expect(id).toBe(400);
  const failed = await client.videos.create({
    prompt: 'a cat',
    size: '33x33' as '720x1280',
    ...({ num_inference_steps: 1 } as object),
  });
  await vi.waitFor(async () => expect((await client.videos.retrieve(failed.id)).status).toBe('failed'), {
    timeout: 20_000,
  });
  expect((await client.videos.retrieve(failed.id)).error).toMatchObject({
    code: 'invalid_argument',
    message: expect.stringMatching(/width/),
  });
  await expect(client.videos.downloadContent(failed.id)).rejects.toMatchObject({ status: 422 });
});
