/** The real client of OpenAI against the server, and what SGLang's and vLLM-Omni's clients send beyond it. */
import OpenAI, { toFile } from 'openai';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Image } from '../../images/image.ts';
import { listen } from '../listen.ts';
import type { Server } from '../server.ts';
import { ask, startServer } from '../testing/start.ts';

let server: Server;
let client: OpenAI;
let address: string;
beforeAll(async () => {
  server = await startServer({ apiKey: 'secret', maxQueued: 1, concurrency: 1 });
  const listening = await listen(server, { port: 0 });
  address = listening.address;
  client = new OpenAI({ baseURL: `${address}/v1`, apiKey: 'secret' });
  close = listening.close;
});
let close: () => Promise<void>;
afterAll(() => close());

/** What only this server takes goes along with the fields of OpenAI's types. */
const own = { seed: 7, num_inference_steps: 3 } as object;
const draw = { prompt: 'red apple', model: 'gpt-image-1', ...own };
const imageOf = (base64: string | undefined) => Image.load(Buffer.from(base64!, 'base64'));
const alone = async (): Promise<Image> => {
  const { data } = await client.images.generate(draw);
  return imageOf(data![0]!.b64_json);
};

describe('images.generate', () => {
  it('draws, the same for the same seed, as many as are asked for', async () => {
    const answer = await client.images.generate({ ...draw, n: 2, size: '64x96', quality: 'standard', user: 'me' });
    expect(answer).toMatchObject({ size: '64x96', output_format: 'png', seed: 7, warnings: [] });
    expect(answer.data).toHaveLength(2);
    const [first, again] = [
      await imageOf(answer.data![0]!.b64_json),
      await client.images.generate({ ...draw, size: '64x96' }),
    ];
    expect(first).toMatchObject({ width: 64, height: 96 });
    expect((await imageOf(again.data![0]!.b64_json)).data).toEqual(first.data);
  });

  it('gives links that need no key, and other formats', async () => {
    const { data } = await client.images.generate({
      ...draw,
      response_format: 'url',
      output_format: 'webp',
      output_compression: 40,
    });
    const answer = await fetch(data![0]!.url!);
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'image/webp']);
    expect(await Image.load(new Uint8Array(await answer.arrayBuffer()))).toMatchObject({ width: 128 });
    expect((await fetch(data![0]!.url!.replace('variant=0', 'variant=1'))).status).toBe(401);
    expect((await fetch(data![0]!.url!.replace(/&sig.*/, ''))).status).toBe(401);
  });

  it('says what has no effect', async () => {
    const { warnings } = (await client.images.generate({
      ...draw,
      style: 'vivid',
      ...({ perf_dump_path: '/x' } as object),
    })) as unknown as {
      warnings: string[];
    };
    expect(warnings).toEqual([
      expect.stringMatching(/^style has no effect/),
      expect.stringMatching(/^perf_dump_path has no effect/),
    ]);
  });

  it('streams what the picture will become, and the picture', async () => {
    const events = [];
    for await (const event of await client.images.generate({ ...draw, stream: true, partial_images: 2 }))
      events.push(event);
    expect(events.map(({ type }) => type)).toEqual([
      'image_generation.partial_image',
      'image_generation.partial_image',
      'image_generation.completed',
    ]);
    expect(events[1]).toMatchObject({ partial_image_index: 1, output_format: 'png', size: '128x128' });
    expect((await imageOf(events[2]!.b64_json)).data).toEqual((await alone()).data);
  });

  it('frees the place of whoever goes away', async () => {
    const gone = new AbortController();
    const request = client.images.generate(
      { ...draw, ...({ num_inference_steps: 200 } as object) },
      { signal: gone.signal },
    );
    await vi.waitFor(() => expect(server.core.jobs.list().running[0]?.progress.step).toBeGreaterThan(0), {
      timeout: 20_000,
    });
    gone.abort();
    await expect(request).rejects.toThrow(/abort/i);
    await vi.waitFor(() => expect(server.core.jobs.counts.running).toBe(0), { timeout: 20_000 });
    expect(server.core.jobs.list().finished[0]).toMatchObject({ state: 'cancelled' });
  });
});

describe('images.edit and createVariation', () => {
  it('start from pictures, one or several', async () => {
    const bytes = await (await alone()).encode('png');
    const file = await toFile(bytes, 'apple.png', { type: 'image/png' });
    const edit = {
      image: file,
      prompt: 'green apple',
      ...({ seed: 3, num_inference_steps: 4, strength: 0.5 } as object),
    };
    const one = await client.images.edit(edit);
    expect(await imageOf(one.data![0]!.b64_json)).toMatchObject({ width: 128, height: 128 });
    const several = await client.images.edit({ ...edit, image: [file, file], n: 2, response_format: 'b64_json' });
    expect(several.data).toHaveLength(2);
    expect((await client.images.createVariation({ image: file, n: 1, size: '256x256' })).size).toBe('256x256');
  });

  it('refuse a mask, and what is no picture', async () => {
    const text = await toFile(Buffer.from('hello'), 'x.png', { type: 'image/png' });
    await expect(client.images.edit({ image: text, prompt: 'x' })).rejects.toMatchObject({
      status: 400,
      param: 'image',
    });
    const image = await toFile(await (await alone()).encode('png'), 'apple.png');
    await expect(client.images.edit({ image, mask: image, prompt: 'x' })).rejects.toMatchObject({
      status: 400,
      param: 'mask',
    });
  });
});

describe('errors', () => {
  it.each([
    [
      { ...draw, size: '63x63' },
      { status: 400, type: 'invalid_request_error', param: 'width' },
    ],
    [
      { ...draw, n: 11 },
      { status: 400, param: 'n' },
    ],
    [
      { ...draw, background: 'transparent' as const },
      { status: 400, param: 'background' },
    ],
    [
      { ...draw, model: 'nobody' },
      { status: 404, code: 'model_not_found' },
    ],
    [
      { ...draw, ...({ prompt: 3 } as object) },
      { status: 400, param: 'prompt' },
    ],
    [{ ...draw, ...({ num_inference_steps: 'many' } as object) }, { status: 400 }],
  ])('%j is %j, told once', async (request, expected) => {
    const error = await client.images.generate(request as OpenAI.ImageGenerateParams).catch((error) => error);
    expect(error).toBeInstanceOf(OpenAI.APIError);
    expect(error).toMatchObject(expected);
    expect(error.message).not.toMatch(/no body/);
  });

  it('a wrong key and an unknown path have the same shape', async () => {
    const stranger = new OpenAI({ baseURL: `${address}/v1`, apiKey: 'guess' });
    await expect(stranger.models.list()).rejects.toMatchObject({ status: 401, type: 'authentication_error' });
    await expect(client.post('/chat/completions', { body: {} })).rejects.toMatchObject({ status: 404 });
  });
});

it('models.list and retrieve', async () => {
  expect((await client.models.list()).data).toMatchObject([{ id: 'emoji-flux', object: 'model' }]);
  expect(await client.models.retrieve('emoji-flux')).toMatchObject({ id: 'emoji-flux', owned_by: 'deja-dit' });
  await expect(client.models.retrieve('nobody')).rejects.toMatchObject({ status: 404 });
});

describe("SGLang's and vLLM-Omni's requests", () => {
  const headers = { authorization: 'Bearer secret' };
  const generate = (fields: object) =>
    ask<{ cache_summary: { cachedSteps: number[]; cacheOptions: unknown }[]; error?: { message: string } }>(
      server,
      '/v1/images/generations',
      { body: { ...draw, ...fields }, headers },
    );

  it('cache as they ask', async () => {
    const cache = { residual_diff_threshold: 1, max_warmup_steps: 1, max_continuous_cached_steps: -1 };
    const { body } = await generate({ num_inference_steps: 6, cache_dit_params: cache });
    expect(body.cache_summary[0]!.cachedSteps.length).toBeGreaterThan(2);
    expect((await generate({ enable_cache_dit: true })).body.cache_summary[0]!.cacheOptions).toMatchObject({
      cacheConfig: { fnComputeBlocks: 1, maxWarmupSteps: 4, residualDiffThreshold: 0.24, maxContinuousCachedSteps: 3 },
    });
    expect((await generate({ enable_cache_dit: false })).body.cache_summary[0]!.cacheOptions).toBeNull();
    const masked = { scm_compute_bins: '2,1', scm_cache_bins: [3], scm_policy: 'static', enable_taylorseer: true };
    expect(
      (await generate({ num_inference_steps: 6, cache_dit_params: masked })).body.cache_summary[0]!.cachedSteps,
    ).toEqual([2, 3, 4]);
  });

  it.each([
    [{ cache_dit_params: { max_cached_steps: 3 } }, /unknown key 'max_cached_steps'; known: Fn_compute_blocks/],
    [{ cache_dit_params: {}, enable_cache_dit: false }, /no effect with enable_cache_dit false/],
    [{ cache_dit_params: { secondary: {} } }, /second expert/],
  ])('refuses %j', async (fields, message) => {
    const { status, body } = await generate(fields);
    expect([status, body.error?.message]).toEqual([400, expect.stringMatching(message)]);
  });

  it('take the picture itself as the answer', async () => {
    const body = JSON.stringify({ ...draw, response_format: 'file', output_format: 'jpeg' });
    const answer = await server.fetch(
      new Request('http://localhost/v1/images/generations', { method: 'POST', headers, body }),
    );
    expect(answer.headers.get('content-type')).toBe('image/jpeg');
    expect(await Image.load(new Uint8Array(await answer.arrayBuffer()))).toMatchObject({ width: 128 });
  });
});
