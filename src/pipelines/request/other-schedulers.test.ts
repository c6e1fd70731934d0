/**
 * Every pipeline with schedulers other than its own: equal to Diffusers wherever that runs (fixtures/pipelines/schedulers), and every image
 * of a batch as it is alone, whether the scheduler adds noise or not.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixtures, relativeError } from '../../models/testing/golden.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { assembleCheckpoint, readRecording, rowOf } from '../testing/recorded.ts';

interface SchedulerRuns {
  call: Record<string, unknown>;
  schedulers: Record<string, { class: string; config: Record<string, unknown>; error?: string }>;
}

const recorded: Record<string, SchedulerRuns> = JSON.parse(
  readFileSync(path.join(fixtures, 'pipelines/schedulers.json'), 'utf8'),
);

/** Only Diffusers' PixArt scales noise as these schedulers ask; here all pipelines do. */
const scaled = ['EulerDiscreteScheduler', 'EulerAncestralDiscreteScheduler', 'HeunDiscreteScheduler'];
const scalesThem = ['pixart_sigma'];

let tensors: Record<string, Tensor>;
beforeAll(async () => {
  tensors = await readSafetensors(path.join(fixtures, 'pipelines/schedulers.safetensors'));
});

function optionsOf(name: string): GenerateOptions {
  const camel = (key: string) => key.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
  const embeds = Object.entries(tensors).flatMap(([key, tensor]) => {
    const [pipeline, call, argument] = key.split('.');
    if (pipeline !== name || call !== 'call') return [];
    return [[camel(argument!), name === 'zimage' ? [tensor] : tensor] as const];
  });
  const call = Object.entries(recorded[name]!.call).map(([key, value]) => [camel(key), value] as const);
  return { ...Object.fromEntries([...call, ...embeds]), numInferenceSteps: 4, seed: 7, outputType: 'latent' };
}

describe.each(Object.keys(recorded))('%s', (name) => {
  const { checkpoint } = readRecording(name);
  const runs = Object.entries(recorded[name]!.schedulers).filter(
    ([, run]) => !run.error && (!scaled.includes(run.class) || scalesThem.includes(name)),
  );
  const roots: string[] = [];
  afterAll(() => {
    for (const root of roots) rmSync(root, { recursive: true, force: true });
  });

  it.each(runs)('%s', async (title, run) => {
    const files = { 'scheduler_config.json': { _class_name: run.class, ...run.config } };
    const root = assembleCheckpoint({ ...checkpoint, components: { ...checkpoint.components, scheduler: { files } } });
    roots.push(root);
    const pipe = await DiffusionPipeline.fromPretrained(root);
    const latentsOf = async (options: GenerateOptions) =>
      (await pipe.generate({ ...optionsOf(name), ...options })).latents;
    const [seven, eight] = [await latentsOf({ seed: 7 }), await latentsOf({ seed: 8 })];
    const both = await latentsOf({ seed: [8, 7], numImages: 2 });
    await pipe.dispose();
    expect(relativeError(seven, tensors[`${name}.${title}`]!)).toBeLessThan(1e-4);
    // Not bit for bit: the kernels of ONNX Runtime add up in another order in a larger batch.
    expect(relativeError(rowOf(both, 0), rowOf(eight, 0)), 'image 0 of a batch').toBeLessThan(1e-4);
    expect(relativeError(rowOf(both, 1), rowOf(seven, 0)), 'image 1 of a batch').toBeLessThan(1e-4);
  });
});

describe('image to image', () => {
  const folder = path.resolve(import.meta.dirname, '../../../models/emoji-flux');
  const image = path.join(folder, 'reference/run0.png');
  const roots: string[] = [];
  afterAll(() => {
    for (const root of roots) rmSync(root, { recursive: true, force: true });
  });

  const stochastic = ['euler_stochastic', 'flow_lcm', 'dpmpp_sde_flow_dynamic'];
  it.each(['euler', ...stochastic])('%s: every image of a batch is as it is alone', async (title) => {
    const run = recorded['flux']!.schedulers[title]!;
    const root = mkdtempSync(path.join(tmpdir(), 'deja-dit-img2img-'));
    roots.push(root);
    for (const part of readdirSync(folder))
      if (part !== 'scheduler') symlinkSync(path.join(folder, part), path.join(root, part));
    mkdirSync(path.join(root, 'scheduler'));
    const config = JSON.stringify({ _class_name: run.class, ...run.config });
    writeFileSync(path.join(root, 'scheduler/scheduler_config.json'), config);
    rmSync(path.join(root, 'model_index.json'));
    const index = JSON.parse(readFileSync(path.join(folder, 'model_index.json'), 'utf8'));
    writeFileSync(
      path.join(root, 'model_index.json'),
      JSON.stringify({ ...index, scheduler: ['diffusers', run.class] }),
    );
    const pipe = await DiffusionPipeline.fromPretrained(root);
    const options: GenerateOptions = {
      prompt: 'red apple',
      numInferenceSteps: 4,
      strength: 0.75,
      outputType: 'latent',
    };
    const latentsOf = async (own: GenerateOptions) => (await pipe.generate({ ...options, image, ...own })).latents;
    const both = await latentsOf({ seed: [7, 8], numImages: 2 });
    for (const [i, seed] of [7, 8].entries())
      expect(relativeError(rowOf(both, i), rowOf(await latentsOf({ seed }), 0)), `image ${i}`).toBeLessThan(1e-4);
    await pipe.dispose();
  });
});
