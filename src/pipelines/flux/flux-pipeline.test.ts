/** The bundled model against what Diffusers computed from the same files (models/emoji-flux/reference). */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { covers } from '../../../tests/covers.ts';
import { Image } from '../../images/image.ts';
import { psnr } from '../../metrics/pixel-errors.ts';
import { relativeError } from '../../models/testing/golden.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';
import type { Pipeline } from '../pipeline.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { itReproducesDiffusers, rowOf } from '../testing/recorded.ts';
import { warningsOf } from '../testing/warnings.ts';

const model = path.resolve(import.meta.dirname, '../../../models/emoji-flux');

interface Reference {
  tag: string;
  prompt: string;
  negative_prompt: string | null;
  true_cfg_scale: number;
  steps: number;
  seed: number;
  size: number;
}

const runs: Reference[] = JSON.parse(readFileSync(path.join(model, 'reference/reference.json'), 'utf8'));

const optionsOf = (run: Reference): GenerateOptions => ({
  prompt: run.prompt,
  negativePrompt: run.negative_prompt ?? undefined,
  trueCfgScale: run.true_cfg_scale,
  numInferenceSteps: run.steps,
  height: run.size,
  width: run.size,
  seed: run.seed,
});

describe('FluxPipeline on the bundled model', () => {
  let pipe: Pipeline;
  let recorded: Record<string, Tensor>;
  beforeAll(async () => {
    pipe = await DiffusionPipeline.fromPretrained(model);
    recorded = await readSafetensors(path.join(model, 'reference/reference.safetensors'));
  });
  afterAll(() => pipe.dispose());

  it.each(runs.map((run) => [`${run.tag}: ${run.prompt}`, run] as const))('reproduces %s', async (_title, run) => {
    const noted = covers({ family: 'FluxTransformer2DModel', check: 'pipeline' });
    const steps: Tensor[] = [];
    const { images, latents } = await pipe.generate({
      ...optionsOf(run),
      onStep: (event) => void steps.push(event.latents),
    });
    const expected = recorded[`${run.tag}.steps`]!;
    expect(steps).toHaveLength(run.steps);
    const every = run.steps / expected.shape[0]!;
    for (let row = 0; row < expected.shape[0]!; row++) {
      const step = (row + 1) * every - 1;
      expect(noted(relativeError(steps[step]!, rowOf(expected, row))), `step ${step}`).toBeLessThan(1e-4);
    }
    expect(relativeError(latents, recorded[`${run.tag}.latents`]!)).toBeLessThan(1e-4);
    expect(psnr(await Image.load(path.join(model, `reference/${run.tag}.png`)), images[0]!)).toBeGreaterThan(50);
  });

  it('gives every image of a batch the noise that Diffusers gives it', async () => {
    const options = { prompt: 'red apple', numInferenceSteps: 2, seed: 5, outputType: 'latent' as const };
    const both = await pipe.generate({ ...options, numImages: 2 });
    const one = await pipe.generate(options);
    expect(both.latents.shape[0]).toBe(2);
    expect(relativeError(rowOf(both.latents, 0), rowOf(one.latents, 0))).toBeLessThan(1e-4);
    const listed = await pipe.generate({ ...options, numImages: 2, seed: [5, 9] });
    const nine = await pipe.generate({ ...options, seed: 9 });
    expect(relativeError(rowOf(listed.latents, 1), rowOf(nine.latents, 0))).toBeLessThan(1e-4);
  });

  it('starts from an image: little strength changes it little', async () => {
    const image = await Image.load(path.join(model, 'reference/run0.png'));
    const from = async (strength: number) =>
      psnr(
        image,
        (await pipe.generate({ prompt: 'red apple, flat style', image, strength, seed: 1, numInferenceSteps: 10 }))
          .images[0]!,
      );
    const [little, much] = [await from(0.2), await from(0.9)];
    expect(little).toBeGreaterThan(much);
    expect(little).toBeGreaterThan(20);
  });

  it('stops between two steps when aborted, and serves the next request', async () => {
    const controller = new AbortController();
    let steps = 0;
    const request = pipe.generate({
      prompt: 'red apple',
      signal: controller.signal,
      onStep: ({ step }) => {
        steps = step;
        if (step === 3) controller.abort();
      },
    });
    await expect(request).rejects.toMatchObject({ code: 'ABORTED' });
    expect(steps).toBe(3);
    const { images } = await pipe.generate({ prompt: 'red apple', numInferenceSteps: 1 });
    expect(images).toHaveLength(1);
  });

  it('previews what the image will become', async () => {
    const run = runs[0]!;
    let preview: Image | undefined;
    const { images } = await pipe.generate({
      ...optionsOf(run),
      onStep: async (event) => {
        if (event.step === 20) [preview] = await event.preview();
      },
    });
    expect(psnr(images[0]!, preview!)).toBeGreaterThan(15);
  });

  it.each([
    [{ promt: 'x' }, /promt.*did you mean prompt\? known: /],
    [{ prompt: 3 }, /prompt: expected a string/],
    [{ prompt: 'x', width: 100 }, /width: .*multiple of 16.*got 100/],
    [{ prompt: 'x', numInferenceSteps: 0 }, /numInferenceSteps: expected an integer from 1/],
    [{ prompt: 'x', numInferenceSteps: 1, seed: [1, 2] }, /seed: 2 seeds for 1 images/],
    [{ prompt: 'x', trueCfgScale: Number.NaN }, /trueCfgScale: expected a number/],
  ])('refuses %j', async (options, message) => {
    await expect(pipe.generate(options as GenerateOptions)).rejects.toThrow(message);
  });

  it('says which options have no effect', async () => {
    const warnings = await warningsOf(() =>
      pipe.generate({
        prompt: 'an apple '.repeat(20),
        numInferenceSteps: 1,
        guidanceScale: 3,
        strength: 0.5,
        trueCfgScale: 1,
        negativePrompt: 'x',
      }),
    );
    expect(warnings).toMatch(/guidanceScale has no effect/);
    expect(warnings).toMatch(/strength has no effect/);
    expect(warnings).toMatch(/negativePrompt has no effect/);
    expect(warnings).toMatch(/only 16 tokens of the prompt are read; this part is ignored: '/);
  });
});

describe('FluxPipeline given embeddings', () => {
  const pipe = itReproducesDiffusers('flux');

  it('is guided by the scale it was distilled with', () => {
    expect(pipe().traits.guidance).toBe('guidanceScale');
  });
});
