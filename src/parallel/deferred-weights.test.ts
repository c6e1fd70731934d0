/** Ranks read their parts of weights from the files, in whatever format they are stored, and no rank holds all of them. */
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { AutoModel } from '../models/auto-model.ts';
import type { SingleFileOptions } from '../models/load/load-single-file.ts';
import { fixtures, readGolden } from '../models/testing/golden.ts';
import { readSafetensors } from '../weights/safetensors/safetensors.ts';
import type { ParallelBackend } from './backend/parallel-backend.ts';
import { inOneThread, largestError } from './testing/ranks.ts';

const flux = path.join(fixtures, 'models/flux');
const { inputs } = await readGolden('models/flux');

describe('weights that are left in their files', () => {
  it('are read by the first call of a model that computes alone, and give the same', async () => {
    await using whole = await AutoModel.fromPretrained(flux);
    await using model = await AutoModel.fromPretrained(flux, { deferWeights: true });
    expect(model.weights.bytes).toBe(0);
    expect(await model.forward(inputs)).toEqual(await whole.forward(inputs));
    expect(model.weights.bytes).toBe(whole.weights.bytes);
  });

  it('are read in the parts that ranks compute with', async () => {
    await using whole = await AutoModel.fromPretrained(flux);
    const { bytes } = whole.weights;
    const alone = await whole.forward(inputs);
    await using model = await AutoModel.fromPretrained(flux, { deferWeights: true });
    model.moveTo(inOneThread(model, { tensor: 2 }));
    expect(largestError(await model.forward(inputs), alone)).toBeLessThan(1e-5);
    expect(model.weights.bytes).toBe(0);
    const { ranks } = await (model.programs.backend as ParallelBackend).crew.ranks();
    for (const { backend } of ranks) expect(backend.live.bytes).toBeLessThan(0.6 * bytes);
    model.moveTo();
    expect(largestError(await model.forward(inputs), alone)).toBe(0);
  });

  it('are read block by block by ranks too (layerwiseOffload)', async () => {
    await using whole = await AutoModel.fromPretrained(flux);
    const alone = await whole.forward(inputs);
    await using model = await AutoModel.fromPretrained(flux, { layerwiseOffload: true });
    for (const size of [{ ulysses: 2 }, { tensor: 2 }, { ring: 2, tensor: 2 }]) {
      model.moveTo(inOneThread(model, size));
      for (let call = 0; call < 2; call++) expect(largestError(await model.forward(inputs), alone)).toBeLessThan(1e-5);
    }
    const { bytesRead, bytesPerForward } = model.offloadSummary!;
    expect(bytesRead).toBeGreaterThanOrEqual(5 * bytesPerForward);
  });

  it.each<[string, string, SingleFileOptions]>([
    ['flux', 'scaled_fp8_prefixed_input.safetensors', { config: flux, weightDtype: 'stored' }],
    ['gguf-flux', 'q8_0.gguf', {}],
    ['gguf-flux-64', 'mixed.gguf', {}],
    ['bitsandbytes', 'bfl_nf4.safetensors', {}],
  ])('%s/%s', async (folder, file, options) => {
    const config = path.join(fixtures, 'single-file', folder);
    const load = (more: SingleFileOptions = {}) =>
      AutoModel.fromSingleFile(path.join(config, file), { config, ...options, ...more });
    await using whole = await load();
    await using model = await load({ deferWeights: true });
    const recorded =
      folder === 'bitsandbytes'
        ? await readInputs(config)
        : { ...inputs, ...(folder === 'gguf-flux-64' ? await readInputs(config) : {}) };
    const alone = await whole.forward(recorded);
    for (const size of [{ tensor: 2 }, { ulysses: 2, tensor: 2 }]) {
      model.moveTo(inOneThread(model, size));
      expect(largestError(await model.forward(recorded), alone)).toBeLessThan(1e-5);
    }
    expect(model.weights.bytes).toBe(0);
  });
});

async function readInputs(folder: string) {
  const tensors = await readSafetensors(path.join(folder, 'io.safetensors'));
  return Object.fromEntries(Object.entries(tensors).filter(([name]) => name in inputs));
}
