/** What clients of A1111's web UI ask, in the order in which they do. */
import { beforeAll, describe, expect, it } from 'vitest';
import { Image } from '../../images/image.ts';
import { readMetadata } from '../../images/read-metadata.ts';
import type { Server } from '../server.ts';
import { ask, startServer } from '../testing/start.ts';

let server: Server;
beforeAll(async () => {
  server = await startServer();
});

const get = async <Body>(name: string) => (await ask<Body>(server, `/sdapi/v1/${name}`)).body;
const post = <Body>(name: string, body: object) => ask<Body>(server, `/sdapi/v1/${name}`, { body });

interface Drawn {
  images: string[];
  parameters: Record<string, unknown>;
  info: string;
}
const draw = { prompt: 'red apple', steps: 3, seed: 7, cfg_scale: 1 };
const txt2img = async (body: object): Promise<Drawn & { about: Record<string, unknown> }> => {
  const { status, body: answer } = await post<Drawn>('txt2img', body);
  expect(status, JSON.stringify(answer)).toBe(200);
  return { ...answer, about: JSON.parse(answer.info) };
};
const pixels = async (base64: string) => (await Image.load(Buffer.from(base64, 'base64'))).data;

describe('txt2img', () => {
  it('draws, and tells what from what: in info, and in the file', async () => {
    const { images, about } = await txt2img({
      ...draw,
      width: 64,
      height: 96,
      negative_prompt: 'blurry',
      sampler_name: 'Euler',
      scheduler: 'Automatic',
      // What clients send along, meant or not.
      alwayson_scripts: {},
      enable_hr: false,
      styles: [],
      eta: 0,
      nonsense: [1],
    });
    expect(images).toHaveLength(1);
    expect(about).toMatchObject({ seed: 7, all_seeds: [7], width: 64, height: 96, steps: 3, sampler_name: 'Euler' });
    expect((about['infotexts'] as string[])[0]).toMatch(
      /^red apple\nNegative prompt: blurry\nSteps: 3, Sampler: Euler/,
    );
    expect(await readMetadata(Buffer.from(images[0]!, 'base64'))).toMatchObject({ seed: 7, prompt: 'red apple' });
    const { body } = await post<{ info: string }>('png-info', { image: images[0] });
    expect(body.info).toContain('Seed: 7');
  });

  it('counts seeds up, over batch_size and n_iter, each picture as it is alone', async () => {
    const small = { ...draw, width: 32, height: 32 };
    const { images, about } = await txt2img({ ...small, batch_size: 2, n_iter: 2 });
    expect(about['all_seeds']).toEqual([7, 8, 9, 10]);
    expect(images).toHaveLength(4);
    const [alone] = (await txt2img({ ...small, seed: 9 })).images;
    const [a, b] = [await pixels(alone!), await pixels(images[2]!)];
    expect(Math.max(...a.map((level, i) => Math.abs(level - b[i]!)))).toBeLessThanOrEqual(1);
    expect(await readMetadata(Buffer.from(images[2]!, 'base64'))).toMatchObject({ seed: 9 });
  });

  it('draws any seed for -1, and says which', async () => {
    const { about } = await txt2img({ ...draw, seed: -1, steps: 1, width: 32, height: 32, send_images: false });
    expect(about['seed']).toBeGreaterThanOrEqual(0);
  });

  it('caches where it is told to, and says what had no effect', async () => {
    const { about } = await txt2img({ ...draw, steps: 12, width: 32, height: 32, cache: true, tiling: true });
    expect(about['reused_steps']).toBeGreaterThan(0);
    expect(String(about['warnings'])).toContain('tiling has no effect');
  });

  it.each([
    [{ sampler_name: 'Euler a' }, 400, /'euler_ancestral' is no sampler for a model that was trained with flows/],
    [{ sampler_name: 'Eulr' }, 400, /no scheduler 'Eulr'/],
    [{ enable_hr: true }, 422, /enable_hr: there is no second pass/],
    [{ batch_size: 99 }, 422, /limited to 16/],
    [{ width: 'wide' }, 400, /width/],
    [{ override_settings: { sd_model_checkpoint: 'sd15' } }, 404, /no model 'sd15'; known: emoji-flux/],
  ])('%j is refused in its shape', async (wrong, status, message) => {
    const answer = await post<{ detail: string; error: string }>('txt2img', { ...draw, ...wrong });
    expect(answer.status).toBe(status);
    expect(answer.body.detail).toMatch(message);
  });
});

it('img2img starts from a picture', async () => {
  const { images } = await txt2img({ ...draw, width: 64, height: 64 });
  const again = { ...draw, width: 64, height: 64, steps: 6, init_images: images };
  const of = async (denoising_strength: number) => {
    const { body } = await post<Drawn>('img2img', { ...again, denoising_strength });
    return pixels(body.images[0]!);
  };
  const [source, little, much] = [await pixels(images[0]!), await of(0.2), await of(0.95)];
  const distance = (x: ArrayLike<number>) => source.reduce((sum, level, i) => sum + Math.abs(level - x[i]!), 0);
  expect(distance(little)).toBeLessThan(distance(much));
});

it('tells of progress with previews, and is interrupted', async () => {
  await post('options', { show_progress_every_n_steps: 1 });
  const drawing = post<Drawn>('txt2img', { ...draw, steps: 150, width: 64, height: 64 });
  let progress = { progress: 0, current_image: null as string | null, state: { sampling_steps: 0 } };
  let over = false;
  void drawing.then(() => (over = true));
  while (!progress.current_image && !over) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    progress = await get('progress');
  }
  expect(progress.progress).toBeGreaterThan(0);
  expect(progress.state.sampling_steps).toBe(150);
  expect(await pixels(progress.current_image!)).toHaveLength(64 * 64 * 3);
  expect(await get<object>('progress?skip_current_image=true')).toMatchObject({ current_image: null });
  await post('interrupt', {});
  const { status, body } = await drawing;
  expect(status).toBe(200);
  expect(body.images).toHaveLength(1);
  expect(await get<object>('progress')).toMatchObject({ progress: 0, state: { job_count: 0 } });
});

it('fills the menus', async () => {
  expect(await get('sd-models')).toMatchObject([{ title: 'emoji-flux', model_name: 'emoji-flux' }]);
  const samplers = await get<{ name: string; aliases: string[] }[]>('samplers');
  expect(samplers.map(({ name }) => name)).toContain('Euler');
  expect(samplers.map(({ name }) => name)).not.toContain('Euler a');
  expect(await get('options')).toMatchObject({ sd_model_checkpoint: 'emoji-flux' });
  for (const name of ['schedulers', 'sd-vae', 'loras', 'upscalers', 'embeddings', 'cmd-flags', 'memory', 'scripts'])
    expect((await ask(server, `/sdapi/v1/${name}`)).status, name).toBe(200);
  expect((await post('refresh-checkpoints', {})).status).toBe(200);
});
