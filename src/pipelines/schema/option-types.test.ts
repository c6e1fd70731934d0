/** Whatever a caller passes as an option is taken or refused in one line that names the option, by every pipeline. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DejaDitError } from '../../errors/errors.ts';
import { Image } from '../../images/image.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';
import type { Pipeline } from '../pipeline.ts';
import { type OpenedPipeline, openPipeline, pipelineNames } from '../testing/every-pipeline.ts';
import { warningsOf } from '../testing/warnings.ts';
import { optionNames } from './catalogue.ts';
import type { GenerateOptions } from './options.ts';

class Odd {
  readonly self = this;
}

const oddValues: Record<string, unknown> = {
  null: null,
  'not a number': Number.NaN,
  'a bigint': 5n,
  'a symbol': Symbol('odd'),
  'a function': () => 3,
  'an object that contains itself': new Odd(),
  'an empty list': [],
  'a list of lists': [[1], [2]],
  'a tensor of another shape': floatTensor([1, 2, 3]),
  'text with line breaks': 'odd\n\u001b[31mred',
  'a map': new Map([[1, 2]]),
  bytes: new Uint8Array(3),
};

describe.each(pipelineNames)('%s', (name) => {
  let opened: OpenedPipeline | undefined;
  let pipe: Pipeline;
  beforeAll(async () => {
    opened = await openPipeline(name);
    pipe = opened.pipe;
  });
  afterAll(() => opened?.close());

  const small = (): GenerateOptions => ({
    ...(pipe.traits.subject === 'prompt' ? { prompt: 'cat' } : { classLabels: 1 }),
    ...(name === 'dit' ? {} : { height: 32, width: 32 }),
    ...(name === 'wan' ? { numFrames: 1 } : {}),
    ...(name === 'pixart_sigma' ? { useResolutionBinning: false } : {}),
    ...(name === 'dit' ? {} : { maxSequenceLength: 8 }),
    numInferenceSteps: 1,
    outputType: 'latent',
  });

  it('says what a request needs before anything is built', async () => {
    const options = small();
    const { size } = pipe.programs.stats;
    const one = pipe.generate({ ...options, maxMemory: '1KB' });
    await expect(one).rejects.toThrow(
      /^width: a picture of \d+ x \d+.* needs about .* GB besides the weights, more than 0.0 GB; .*maxMemory/,
    );
    expect(pipe.programs.stats.size).toBe(size);
  });

  it.each(Object.keys(oddValues))('takes or refuses by name: %s', async (odd) => {
    for (const option of optionNames) {
      const controller = new AbortController();
      const options = { ...small(), signal: controller.signal, [option]: oddValues[odd] } as GenerateOptions;
      let error: unknown;
      await warningsOf(() => pipe.generate(options).catch((thrown: unknown) => (error = thrown)));
      if (error === undefined) continue;
      expect(error, `${option}: ${error instanceof Error ? error.stack : ''}`).toBeInstanceOf(DejaDitError);
      // Diffusers' name for it: what it returns is read as onStep's.
      const named = option === 'callbackOnStepEnd' ? /callbackOnStepEnd|onStep/ : option;
      expect((error as DejaDitError).message, option).toMatch(named);
      expect((error as DejaDitError).message, option).toMatch(/^[ -~…]{1,700}$/);
    }
  });
});

describe('starting images and seeds', () => {
  const folder = path.resolve(import.meta.dirname, '../../../models/emoji-flux');
  const picture = path.join(folder, 'reference/run0.png');
  let pipe: Pipeline;
  beforeAll(async () => {
    pipe = await DiffusionPipeline.fromPretrained(folder);
  });
  afterAll(() => pipe.dispose());

  const latents = async (options: GenerateOptions) =>
    (await pipe.generate({ prompt: 'red apple', numInferenceSteps: 2, seed: 5, outputType: 'latent', ...options }))
      .latents.data;

  it('come as a picture, a path, a URL or bytes', async () => {
    const expected = await latents({ image: await Image.load(picture) });
    for (const image of [picture, pathToFileURL(picture), readFileSync(picture), new Uint8Array(readFileSync(picture))])
      expect(await latents({ image })).toEqual(expected);
  });

  it.each([
    [{ image: '/no/such.png' }, 'image: /no/such.png: no such file'],
    [{ image: [picture, 'x.txt'], numImages: 2 }, 'image[1]: x.txt: no such file'],
    [{ image: Buffer.alloc(10) }, 'image: is not a PNG, JPEG, WebP, AVIF or GIF image'],
    [{ image: new URL('http://localhost/a.png') }, 'image: http://localhost/a.png: only file: URLs are read'],
    [{ image: [picture, picture, picture], numImages: 2 }, 'image: 3 of them cannot take turns in 2 pictures'],
    [{ image: { width: 1 } }, 'image: expected an Image, a path, a file: URL or the bytes of a file, got {"width":1}'],
    [{ seed: '5x' }, 'seed: expected an integer, its digits, or a list of such, got "5x"'],
    [{ seed: [1, 2.5], numImages: 2 }, 'seed[1]: expected an integer, its digits, or a list of such, got 2.5'],
  ])('are refused by name: %o', async (options, message) => {
    await expect(latents(options as unknown as GenerateOptions)).rejects.toThrow(message);
  });

  it('seeds come as numbers, bigints or digits', async () => {
    const expected = await latents({ seed: 5 });
    for (const seed of ['5', 5n, [5], ['5'], 2n ** 64n + 5n]) expect(await latents({ seed })).toEqual(expected);
    const { seed } = await pipe.generate({ prompt: 'x', numInferenceSteps: 1, seed: ['7', 2n ** 60n], numImages: 2 });
    expect(seed).toEqual([7, 2n ** 60n]);
  });
});

describe('what onStep returns', () => {
  let pipe: Pipeline;
  beforeAll(async () => {
    pipe = await DiffusionPipeline.fromPretrained(path.resolve(import.meta.dirname, '../../../models/emoji-flux'));
  });
  afterAll(() => pipe.dispose());
  const options = { prompt: 'red apple', numInferenceSteps: 3, seed: 5, outputType: 'latent' } as const;

  it('takes the place of the latents', async () => {
    const half = ({ f32, shape }: Tensor) =>
      floatTensor(
        f32.map((value) => value / 2),
        shape,
      );
    const plain = await pipe.generate({ ...options, numInferenceSteps: 1 });
    const halved = await pipe.generate({
      ...options,
      numInferenceSteps: 1,
      onStep: ({ latents }) => ({ latents: half(latents) }),
    });
    expect(halved.latents.data).toEqual(half(plain.latents).data);
    // The same latents after a step that replaces them and at the start of a request that begins there.
    const sigmas = [0.75, 0.5];
    const started: Tensor[] = [];
    const replaced = await pipe.generate({
      ...options,
      numInferenceSteps: undefined,
      sigmas: [1, ...sigmas],
      onStep: async ({ step, latents }) => {
        if (step > 1) return;
        started.push(half(latents));
        return { latents: started[0] };
      },
    });
    const rest = await pipe.generate({ ...options, numInferenceSteps: undefined, sigmas, latents: started[0]! });
    expect(replaced.latents.data).toEqual(rest.latents.data);
  });

  it.each([
    [3, 'onStep: expected nothing or { latents } to be returned, got 3'],
    [null, 'onStep: expected nothing or { latents } to be returned, got null'],
    [{ promptEmbeds: 1 }, 'onStep: expected nothing or { latents } to be returned, got {"promptEmbeds":1}'],
    [{ latents: [1] }, 'onStep: expected the returned latents to be a Tensor, got [1]'],
    [{ latents: floatTensor([1]) }, 'onStep: shape [1], expected [1,'],
  ])('is refused by name: %o', async (reply, message) => {
    const onStep = (() => reply) as unknown as GenerateOptions['onStep'];
    await expect(pipe.generate({ ...options, onStep })).rejects.toThrow(message);
  });
});
