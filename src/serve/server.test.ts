/** The server as a fetch handler, over the real engine process: what a client sees, and what becomes of it when things go wrong. */
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Image } from '../images/image.ts';
import { readMetadata } from '../images/read-metadata.ts';
import { DiffusionPipeline } from '../pipelines/diffusion-pipeline.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import type { GenerateOptions } from '../pipelines/schema/options.ts';
import { bundledModel } from '../weights/bundled-model.ts';
import { createServer, type Server } from './server.ts';
import { ask, levels, startServer } from './testing/start.ts';

type JobView = { id: string; state: string; model: string; error: { message: string } | null } & Record<
  string,
  unknown
>;

const root = mkdtempSync(path.join(tmpdir(), 'deja-dit-serve-'));
afterAll(() => rmSync(root, { recursive: true }));
const other = path.join(root, 'other-model');
symlinkSync(bundledModel(), other);

const draw = { prompt: 'red apple', seed: 7, numInferenceSteps: 3 };
const long = { ...draw, numInferenceSteps: 200 };

const submit = async (server: Server, options: object) =>
  (await ask<JobView>(server, '/v1/jobs', { body: options })).body;
const finished = async (server: Server, { id }: { id: string }) => {
  await server.core.jobs.finished(id);
  return (await ask<JobView>(server, `/v1/jobs/${id}`)).body;
};
const pixelsOf = async (server: Server, { id }: { id: string }) => {
  const answer = await server.fetch(new Request(`http://localhost/v1/jobs/${id}/files/0`));
  const bytes = new Uint8Array(await answer.arrayBuffer());
  return { image: await Image.load(bytes), bytes, type: answer.headers.get('content-type') };
};
const running = (server: Server, id: string) =>
  vi.waitFor(() => expect(server.core.jobs.get(id)!.progress.step).toBeGreaterThan(0), { timeout: 30_000 });

describe('a server', () => {
  let server: Server;
  let pipe: Pipeline;
  let alone: (options: GenerateOptions) => Promise<Image>;
  let early: Response;
  beforeAll(async () => {
    server = createServer({ model: [bundledModel(), other], memory: '150MB' });
    early = await server.fetch(new Request('http://localhost/health'));
    pipe = await DiffusionPipeline.fromPretrained(bundledModel());
    alone = async (options) => (await pipe.generate(options)).images[0]!;
  });
  afterAll(async () => {
    await server.close();
    await pipe.dispose();
  });

  it('answers at once, is not well until its model is warm, then is', async () => {
    expect([early.status, await early.text()]).toEqual([503, 'the model is being loaded']);
    await server.ready;
    const late = await server(new Request('http://localhost/health'));
    expect([late.status, await late.text()]).toEqual([200, 'OK']);
  });

  it('draws what the pipeline draws, and writes how into the file', async () => {
    const job = await finished(
      server,
      await submit(server, { ...draw, num_inference_steps: null, model: 'emoji-flux' }),
    );
    expect(job).toMatchObject({
      state: 'done',
      model: 'emoji-flux',
      error: null,
      report: { seed: 7, steps: 3, warnings: [] },
    });
    const { image, bytes, type } = await pixelsOf(server, job);
    expect(type).toBe('image/png');
    expect(levels(image, await alone(draw))).toBeLessThanOrEqual(1);
    expect(await readMetadata(bytes)).toMatchObject({
      prompt: 'red apple',
      seed: 7,
      numInferenceSteps: 3,
      model: 'emoji-flux',
    });
  });

  it('gives requests that run at the same time what each gets alone, with caches, sizes and guidance of their own', async () => {
    const requests: GenerateOptions[] = [
      draw,
      {
        ...draw,
        seed: 8,
        numInferenceSteps: 6,
        cache: { cacheConfig: { residualDiffThreshold: 0.5, maxWarmupSteps: 1 } },
      },
      { ...draw, prompt: 'pizza', width: 64, height: 64, negativePrompt: 'red', trueCfgScale: 3 },
      { ...draw, cache: false, seed: 9 },
    ];
    const jobs = await Promise.all(requests.map((options) => submit(server, options)));
    for (const [i, job] of jobs.entries()) {
      expect(await finished(server, job)).toMatchObject({ state: 'done' });
      const { image } = await pixelsOf(server, job);
      expect(levels(image, await alone(requests[i]!)), `request ${i}`).toBeLessThanOrEqual(1);
    }
  });

  it('takes pictures to start from, and other formats', async () => {
    const image = Buffer.from(await (await alone(draw)).encode('png')).toString('base64');
    const options = {
      ...draw,
      seed: 3,
      strength: 0.7,
      image: `data:image/png;base64,${image}`,
      output: { format: 'webp' },
    };
    const job = await finished(server, await submit(server, options));
    expect(job).toMatchObject({ state: 'done', options: { image: { size: expect.any(Number) } } });
    expect((await pixelsOf(server, job)).type).toBe('image/webp');
  });

  it.each([
    [{ prompt: 'x', width: 63 }, /^width: .*multiple of 16/],
    [{ prompt: 3 }, /^prompt: expected a string/],
    [{ prompt: 'x', image: Buffer.from('GIF89a nothing').toString('base64') }, /^image: cannot be decoded/],
    [{ prompt: 'x', cache: { Fn_compute_blocks: 40 } }, /40/],
  ])('lets %j fail with what is wrong', async (options, message) => {
    expect((await finished(server, await submit(server, options))).error?.message).toMatch(message);
  });

  it.each([
    [{ prompt: 'x', promt: 'y' }, 400, /promt: unknown option.*did you mean prompt/],
    [{ prompt: 'x', cache: { Fn: 'a' } }, 400, /Fn|fnComputeBlocks/],
    [{ prompt: 'x', cache: { quantize_config: { quant_type: 'int8' } } }, 400, /cannot be set by a request/],
    [{ prompt: 'x', cache: { calibratorConfig: { type: 'learned', coefficients: '/etc/passwd' } } }, 400, /not a file/],
    [{ prompt: 'x', latents: [1] }, 400, /latents: unknown option/],
    [{ prompt: 'x', image: '/etc/passwd' }, 400, /image/],
    [{ prompt: 'x', image: 'http://localhost/x.png' }, 403, /fetches no pictures/],
    [{ prompt: 'x', numInferenceSteps: 201 }, 400, /numInferenceSteps: is limited to 200/],
    [{ prompt: ['x', 'y', 'z'], num_images_per_prompt: 6 }, 400, /numImages: is limited to 16/],
    [{ prompt: 'x', width: 65536, height: 65536 }, 400, /width: pictures are limited/],
    [{ prompt: 'x', model: 'nobody' }, 404, /no model 'nobody'/],
    [{ prompt: 'x', priority: 'high' }, 400, /priority/],
    ['{', 400, /not valid JSON/],
    ['[]', 400, /object/],
  ])('refuses %j', async (body, status, message) => {
    const answer = await ask<{ error: { message: string } }>(server, '/v1/jobs', { body });
    expect([answer.status, answer.body.error.message]).toEqual([status, expect.stringMatching(message)]);
  });

  it('loads a second model on demand, and frees the first where both do not fit', async () => {
    const states = () => Object.fromEntries(server.core.models.list().map(({ name, now }) => [name, now.state]));
    expect(states()).toEqual({ 'emoji-flux': 'loaded', 'other-model': 'unloaded' });
    const [first, second] = await Promise.all([
      submit(server, draw),
      submit(server, { ...draw, model: 'other-model' }),
    ]);
    expect(await finished(server, second)).toMatchObject({ state: 'done', model: 'other-model' });
    expect(await finished(server, first)).toMatchObject({ state: 'done' });
    expect(states()).toEqual({ 'emoji-flux': 'unloaded', 'other-model': 'loaded' });
  });

  it('ends a job that is cancelled, and is free for others', async () => {
    const job = await submit(server, long);
    await running(server, job.id);
    await ask(server, `/v1/jobs/${job.id}`, { method: 'DELETE' });
    expect(await finished(server, job)).toMatchObject({ state: 'cancelled' });
    expect(await finished(server, await submit(server, draw))).toMatchObject({ state: 'done' });
    expect((await ask(server, `/v1/jobs/${job.id}`, { method: 'DELETE' })).status).toBe(200);
    expect((await ask(server, `/v1/jobs/${job.id}`)).status).toBe(404);
  });

  it('survives the end of its engine process: the job in it fails, the next one does not', async () => {
    const job = await submit(server, long);
    await running(server, job.id);
    process.kill(server.core.enginePid!, 'SIGKILL');
    const lost = await finished(server, job);
    expect(lost).toMatchObject({ state: 'failed', error: { message: expect.stringMatching(/ended by SIGKILL/) } });
    expect((await server.fetch(new Request('http://localhost/health'))).status).toBe(200);
    expect(await finished(server, await submit(server, draw))).toMatchObject({ state: 'done' });
  });

  it('begins jobs anew that lost their engine process together', async () => {
    const options = { ...draw, numInferenceSteps: 12 };
    const jobs = [await submit(server, options), await submit(server, { ...options, seed: 8 })];
    for (const { id } of jobs) await running(server, id);
    process.kill(server.core.enginePid!, 'SIGKILL');
    for (const job of jobs) expect(await finished(server, job)).toMatchObject({ state: 'done' });
  });

  it('streams the events of a job, from where a reader stopped', async () => {
    const { id } = await submit(server, { ...draw, previews: { every: 1, maxSize: 32 } });
    const read = async (headers: Record<string, string> = {}) => {
      const answer = await server.fetch(new Request(`http://localhost/v1/jobs/${id}/events`, { headers }));
      return (await answer.text()).match(/^event: .*$/gm)!.map((line) => line.slice(7));
    };
    const course = ['queued', 'started', 'step', 'preview', 'step', 'preview', 'step', 'done'];
    expect(await read()).toEqual(course);
    expect(await read({ 'last-event-id': '5' })).toEqual(['step', 'done']);
    const preview = await server.fetch(new Request(`http://localhost/v1/jobs/${id}/preview`));
    expect(preview.headers.get('content-type')).toBe('image/jpeg');
    expect(await Image.load(new Uint8Array(await preview.arrayBuffer()))).toMatchObject({ width: 32, height: 32 });
  });

  it('tells what it has done', async () => {
    const answer = await server.fetch(new Request('http://localhost/metrics'));
    const text = await answer.text();
    expect(text).toMatch(/^deja_dit_jobs_total\{kind="generate",model="emoji-flux",state="done"\} \d+$/m);
    expect(text).toMatch(/^deja_dit_engine_lost_total 2$/m);
    expect(text).toMatch(/^deja_dit_steps_total\{model="emoji-flux",action="reuse"\} \d+$/m);
  });

  it('describes itself', async () => {
    const { body } = await ask<{ openapi: string; paths: Record<string, object> }>(server, '/openapi.json');
    expect(body.openapi).toBe('3.1.0');
    expect(Object.keys(body.paths)).toContain('/v1/jobs/{id}/events');
    const page = await (await server.fetch(new Request('http://localhost/docs'))).text();
    expect(page).toContain('/v1/jobs/{id}/events');
    expect((await ask(server, '/v1/jobz')).body).toMatchObject({
      error: { message: expect.stringMatching(/did you mean \/v1\/jobs/) },
    });
    expect((await ask(server, '/v1/jobs', { method: 'PATCH', body: {} })).status).toBe(405);
  });
});

it('a model that cannot be loaded is told by ready and by health', async () => {
  const server = createServer({ model: root });
  await expect(server.ready).rejects.toThrow(/has no model_index.json/);
  const health = await server.fetch(new Request('http://localhost/health'));
  expect([health.status, await health.text()]).toEqual([503, expect.stringMatching(/has no model_index.json/)]);
  await server.close();
});

it.each([
  [{ model: ['a/b', 'c/b'] }, /model: two models are called 'b'/],
  [{ apiKey: '' }, /apiKey: is empty/],
  [{ memory: 'much' }, /memory: expected a size/],
  [{ modl: 'x' }, /modl: unknown option of createServer; did you mean model/],
])('refuses %j', (options, message) => {
  expect(() => createServer(options as object)).toThrow(message);
});

describe('keys, origins and limits', () => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({
      apiKey: ['one', 'two'],
      loopback: true,
      cors: 'https://friend.example',
      maxBodyBytes: 5000,
      maxQueued: 1,
      concurrency: 1,
    });
  });
  const status = async (headers: Record<string, string>, init: RequestInit & { path?: string } = {}) => {
    const { path = '/v1/models', ...more } = init;
    return (await server.fetch(new Request(`http://localhost${path}`, { headers, ...more }))).status;
  };
  const key = { authorization: 'Bearer two' };

  it('wants a key, in any of the usual places, except for its health', async () => {
    expect(await status({})).toBe(401);
    expect(await status({ authorization: 'Bearer three' })).toBe(401);
    expect(await status({ authorization: 'Bearer ' })).toBe(401);
    expect(await status(key)).toBe(200);
    expect(await status({ 'x-api-key': 'one' })).toBe(200);
    expect(await status({ authorization: `Basic ${btoa('user:one')}` })).toBe(200);
    expect(await status({}, { path: '/health' })).toBe(200);
  });

  it('answers pages of its own and of friends', async () => {
    expect(await status({ ...key, origin: 'https://evil.example', host: 'localhost' })).toBe(403);
    expect(await status({ ...key, origin: 'null', host: 'localhost' })).toBe(403);
    expect(await status({ ...key, origin: 'http://localhost:9', host: 'localhost:9' })).toBe(200);
    expect(await status({ ...key, origin: 'https://friend.example', host: 'localhost' })).toBe(200);
    expect(await status({ ...key, host: 'rebound.example' })).toBe(403);
    const preflight = new Request('http://localhost/v1/jobs', {
      method: 'OPTIONS',
      headers: { origin: 'https://friend.example', 'access-control-request-method': 'POST' },
    });
    expect((await server.fetch(preflight)).headers.get('access-control-allow-origin')).toBe('https://friend.example');
  });

  it('refuses large bodies, and more than may wait', async () => {
    expect(
      await status(key, { path: '/v1/jobs', method: 'POST', body: JSON.stringify({ prompt: 'x'.repeat(6000) }) }),
    ).toBe(413);
    const create = () => ask<JobView>(server, '/v1/jobs', { body: long, headers: key });
    const answers = [await create(), await create(), await create()];
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 429]);
    expect(Number(answers[2]!.headers.get('retry-after'))).toBeGreaterThan(0);
    for (const { body } of answers) if (body.id) server.core.jobs.cancel(body.id);
  });

  it('lets what it has taken end when it drains, and takes no more', async () => {
    const { body } = await ask<JobView>(server, '/v1/jobs', { body: draw, headers: key });
    const drained = server.drain();
    expect(await status({}, { path: '/health' })).toBe(503);
    expect((await ask(server, '/v1/jobs', { body: draw, headers: key })).status).toBe(503);
    await drained;
    expect((await ask<JobView>(server, `/v1/jobs/${body.id}`, { headers: key })).body.state).toBe('done');
  });
});
