/** Options of loading: none is ignored, and what is wrong with one is said in a line that names it. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { DejaDitError } from '../errors/errors.ts';
import { AutoModel, loadModel } from '../models/auto-model.ts';
import { fixtures } from '../models/testing/golden.ts';
import { createBackend } from '../runtime/create-backend.ts';
import { resolveModel } from '../weights/hub/hub.ts';
import { DiffusionPipeline } from './diffusion-pipeline.ts';

const flux = path.join(fixtures, 'models/flux');

type Loader = (options: never) => Promise<unknown>;
const loaders: [string, Loader][] = [
  ['DiffusionPipeline.fromPretrained', (options) => DiffusionPipeline.fromPretrained(flux, options)],
  ['AutoModel.fromPretrained', (options) => AutoModel.fromPretrained(flux, options)],
  ['loadModel', (options) => loadModel(flux, options)],
  ['createBackend', (options) => createBackend(options)],
  ['resolveModel', (options) => resolveModel(flux, options)],
];

describe.each(loaders)('%s', (name, load) => {
  const refuses = async (options: unknown, message: RegExp) => {
    const error: DejaDitError = await load(options as never).then(
      () => expect.fail('should have been refused'),
      (failure) => failure,
    );
    expect(error).toBeInstanceOf(DejaDitError);
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('\n');
  };

  it('refuses what is no object of options', () => refuses('float16', /must be an object of options, got "float16"/));
  it('refuses an unknown option and lists the known', () =>
    refuses({ colour: 1 }, /^colour: unknown option of .*; known: \w+/));

  it.runIf(/fromPretrained|loadModel/.test(name))('says how Diffusers’ options are called here', async () => {
    await refuses({ device: 'cuda' }, /^device: unknown option .*backend/);
    await refuses({ torch_dtype: 'float16' }, /^torch_dtype: .*computeDtype.*weightDtype/);
    await refuses({ quantType: 'int8' }, /^quantType: .*quantize\(model/);
    await refuses({ weightDtype: 'float16' }, /^weightDtype: .*"float32"\|"stored"/);
    await refuses({ layerwiseOfload: true }, /did you mean layerwiseOffload\? known: /);
    await refuses({ signal: 5 }, /^signal: expected an AbortSignal/);
    await refuses({ variant: 16 }, /^variant: .*expected string/);
  });
});

it('names the argument that is no path', async () => {
  await expect(DiffusionPipeline.fromPretrained(undefined as never)).rejects.toThrow(
    /^model: expected a folder or a repository id/,
  );
  await expect(AutoModel.fromPretrained(7 as never)).rejects.toThrow(/^folder: expected the folder of a model, got 7/);
  await expect(createBackend({ threads: 0 })).rejects.toThrow(/^threads: /);
  await expect(createBackend({ backend: 'metal' as never })).rejects.toThrow(
    /^backend: unknown backend "metal"; known: cpu, wasm, webgpu, auto/,
  );
  await expect(createBackend({ backend: 'cuda' as never })).rejects.toThrow(
    /^backend: 'cuda' is not a backend .* use 'webgpu', which runs on the same card/,
  );
});

it('knows the transformer of a pipeline that it does not know', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'deja-dit-lacking-'));
  try {
    await mkdir(path.join(folder, 'transformer'));
    const index = { _class_name: 'FluxControlPipeline', transformer: ['diffusers', 'FluxTransformer2DModel'] };
    await writeFile(path.join(folder, 'model_index.json'), JSON.stringify(index));
    await expect(DiffusionPipeline.fromPretrained(folder)).rejects.toThrow(
      /'FluxControlPipeline' is not supported; its FluxTransformer2DModel is supported and loads alone, .* known: .*FluxPipeline/,
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});

it('an abort is an AbortError', async () => {
  const signal = AbortSignal.abort();
  const error = await loadModel(flux, { signal }).catch((failure) => failure);
  expect(error).toMatchObject({ name: 'AbortError', code: 'ABORTED' });
});
