/**
 * Test support: pipelines put together from the fixtures' tiny parts, and runs of the same parts recorded with Diffusers
 * (`fixtures/pipelines/<name>/runs.json` and `.safetensors`).
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { covers } from '../../../tests/covers.ts';
import type { Image } from '../../images/image.ts';
import { fixtures, relativeError } from '../../models/testing/golden.ts';
import { floatTensor, lastDims, Tensor } from '../../tensor/tensor.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';
import type { Pipeline } from '../pipeline.ts';
import type { GenerateOptions, GenerateResult, StepEvent } from '../schema/options.ts';

/** A component's folder: files of a fixture, changes to its config, files of its own. */
interface Part {
  from?: string | readonly string[];
  config?: Record<string, unknown>;
  files?: Record<string, Record<string, unknown>>;
}

export interface Run {
  name: string;
  seed: number;
  /** Arguments under their Python names. */
  call: Record<string, unknown>;
  /** Whether the tensors named `call.*` are arguments too. */
  embeds?: boolean;
  /** Which rows and columns of latents and pictures were kept: every so manieth of both. Default: all. */
  every?: number;
  /** Settings of cache-dit, and per transformer what it did. */
  cache?: Record<string, unknown>;
  transformers?: CacheRecord[];
}

export interface CacheRecord {
  cached_steps: number[];
  cfg_cached_steps: number[];
  residual_diffs: Record<string, number>;
  cfg_residual_diffs: Record<string, number>;
}

export interface Recording {
  checkpoint: { className: string; options: Record<string, unknown>; components: Record<string, Part | null> };
  /** ControlNets that it is loaded with, as folders of the fixtures. */
  load?: { controlnet: readonly string[] };
  runs: Run[];
}

const json = <T>(...parts: string[]): T => JSON.parse(readFileSync(path.join(...parts), 'utf8')) as T;

export function readRecording(name: string): Recording {
  return json(fixtures, 'pipelines', name, 'runs.json');
}

/**
 * Writes a checkpoint in Diffusers layout into a new folder; weights are linked. The caller removes it. Modular pipelines get a modular
 * index, which names a repository that nobody has.
 */
export function assembleCheckpoint({ className, options, components }: Recording['checkpoint']): string {
  const isModular = className.endsWith('ModularPipeline');
  const root = mkdtempSync(path.join(tmpdir(), 'deja-dit-pipeline-'));
  const index: Record<string, unknown> = { _class_name: className, ...options };
  for (const [name, part] of Object.entries(components)) {
    index[name] = [null, null];
    if (!part) continue;
    const { from, config, files = {} } = part;
    const folder = path.join(root, name);
    mkdirSync(folder);
    const sources = (from === undefined ? [] : [from].flat()).map((source) => path.join(fixtures, source));
    const own: Record<string, Record<string, unknown>> = { ...files };
    if (config) own['config.json'] = { ...json<Record<string, unknown>>(sources[0]!, 'config.json'), ...config };
    for (const [file, content] of Object.entries(own)) writeFileSync(path.join(folder, file), JSON.stringify(content));
    for (const source of sources)
      for (const file of readdirSync(source))
        if (!own[file]) symlinkSync(path.join(source, file), path.join(folder, file));
    const place = isModular ? [{ pretrained_model_name_or_path: 'example/tiny', subfolder: name, revision: null }] : [];
    index[name] = ['library', classOf(folder), ...place];
  }
  writeFileSync(path.join(root, `${isModular ? 'modular_' : ''}model_index.json`), JSON.stringify(index));
  return root;
}

function classOf(folder: string): unknown {
  const file = readdirSync(folder).find((name) =>
    /^(scheduler_|tokenizer_|preprocessor_|guider_)?config\.json$/.test(name),
  )!;
  const config = json<Record<string, unknown>>(folder, file);
  return (
    config['_class_name'] ??
    (config['architectures'] as string[] | undefined)?.[0] ??
    config['tokenizer_class'] ??
    config['image_processor_type']
  );
}

/** A call's arguments as our options. */
export async function optionsOf(name: string, { call, seed, embeds = false }: Run): Promise<GenerateOptions> {
  const tensors = embeds ? await readSafetensors(path.join(fixtures, 'pipelines', name, 'runs.safetensors')) : {};
  const given = Object.entries(tensors).flatMap(([key, tensor]) =>
    key.startsWith('call.') ? [[key.slice('call.'.length), tensor] as const] : [],
  );
  // Pictures lie beside the recording.
  const pictures = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(pictures);
    return isFile(value) ? path.join(fixtures, value.file) : value;
  };
  const renamed = (key: string) =>
    key
      .replace(/^_/, '')
      .replace(/^num_(images|videos)_per_prompt$/, 'num_images')
      .replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
  return {
    ...Object.fromEntries([...Object.entries(call), ...given].map(([key, value]) => [renamed(key), pictures(value)])),
    seed,
  };
}

function isFile(value: unknown): value is { file: string } {
  return typeof value === 'object' && value !== null && 'file' in value;
}

export interface Reproduced {
  result: GenerateResult;
  events: StepEvent[];
}

/**
 * Generates as recorded, and compares the latents after every step and the pictures.
 * @param tolerance of the latents, relative
 */
export async function reproduce(pipe: Pipeline, name: string, run: Run, tolerance = 1e-4): Promise<Reproduced> {
  const { className } = Object.values(pipe.transformers)[0]!.definition;
  const noted = covers({ family: className, check: 'pipeline' });
  const recorded = await readSafetensors(path.join(fixtures, 'pipelines', name, 'runs.safetensors'));
  const events: StepEvent[] = [];
  const options = await optionsOf(name, run);
  const result = await pipe.generate({ ...options, onStep: (event) => void events.push(event) });
  const steps = recorded[`${run.name}.latents`]!;
  expect(events).toHaveLength(steps.dim(0));
  for (const [i, { latents }] of events.entries())
    expect(noted(relativeError(thinned(latents, run.every), rowOf(steps, i))), `latents after step ${i}`).toBeLessThan(
      tolerance,
    );
  const pictures = recorded[`${run.name}.image`];
  if (pictures) expectPictures(result, pictures, run.every);
  return { result, events };
}

/** Levels of [B, 3, H, W] or [B, frames, 3, H, W], with room for rounding to fall the other way. */
function expectPictures({ images, videos }: GenerateResult, recorded: Tensor, every = 1): void {
  const whole: Image[] = videos.length > 0 ? videos.flatMap((video) => video.frames) : images;
  const frames = whole.map((frame) => thinnedPicture(frame, every));
  const [channels, height, width] = lastDims(recorded, 3);
  const plane = height * width;
  expect(frames).toHaveLength(recorded.size / (channels * plane));
  for (const [n, frame] of frames.entries()) {
    expect([frame.width, frame.height]).toEqual([width, height]);
    let worst = 0;
    for (const [i, level] of frame.data.entries()) {
      const at = (n * channels + (i % channels)) * plane + Math.floor(i / channels);
      worst = Math.max(worst, Math.abs(level - Number(recorded.data[at])));
    }
    expect(worst, `levels of picture ${n}`).toBeLessThanOrEqual(1);
  }
}

/** Every so manieth of the rows and columns of [..., rows, columns]. */
function thinned(tensor: Tensor, every = 1): Tensor {
  if (every === 1) return tensor;
  const [rows, columns] = lastDims(tensor, 2);
  const kept = tensor.f32.filter(
    (_, i) => (i % columns) % every === 0 && (Math.floor(i / columns) % rows) % every === 0,
  );
  return floatTensor(kept, [...tensor.shape.slice(0, -2), Math.ceil(rows / every), Math.ceil(columns / every)]);
}

function thinnedPicture(image: Image, every: number): Pick<Image, 'width' | 'height' | 'data'> {
  if (every === 1) return image;
  const { width, height, channels, data } = image;
  const kept = data.filter((_, i) => {
    const pixel = Math.floor(i / channels);
    return (pixel % width) % every === 0 && Math.floor(pixel / width) % every === 0;
  });
  return { width: Math.ceil(width / every), height: Math.ceil(height / every), data: kept };
}

export function rowOf(tensor: Tensor, index: number): Tensor {
  const { dtype, data, shape } = tensor;
  const size = data.length / tensor.dim(0);
  return new Tensor(dtype, data.slice(index * size, (index + 1) * size), shape.slice(1));
}

/**
 * Tests: every uncached run of a recording.
 * @returns the pipeline, for further tests
 */
export function itReproducesDiffusers(name: string, tolerance?: number): () => Pipeline {
  const { checkpoint, load, runs } = readRecording(name);
  let root: string;
  let pipe: Pipeline;
  beforeAll(async () => {
    root = assembleCheckpoint(checkpoint);
    const controlnet = load?.controlnet.map((folder) => path.join(fixtures, folder));
    pipe = await DiffusionPipeline.fromPretrained(root, { controlnet });
  });
  afterAll(async () => {
    await pipe?.dispose();
    rmSync(root, { recursive: true, force: true });
  });
  it.each(
    runs.filter(({ cache }) => !cache).map((run) => [run.name, run] as const),
  )('reproduces Diffusers: %s', async (_name, run) => {
    await reproduce(pipe, name, run, tolerance);
  });
  return () => pipe;
}
