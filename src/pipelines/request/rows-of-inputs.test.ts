/** Calls of every family side by side: computed as one, with what each gives alone, with a cache too. */
import path from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { enableCache } from '../../api/enable-cache.ts';
import { setWarningHandler } from '../../errors/warnings.ts';
import { AutoModel } from '../../models/auto-model.ts';
import type { Prepared } from '../../models/definition.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import { runLanes } from '../../models/spans/runs-together.ts';
import { fixtures, goldenModels, readGolden, relativeError } from '../../models/testing/golden.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { quantize } from '../../quantize/quantize.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { rowsOfInputs } from './rows-of-inputs.ts';

let restore: Parameters<typeof setWarningHandler>[0];
beforeAll(() => {
  restore = setWarningHandler(() => {});
});
afterAll(() => void setWarningHandler(restore));

/** Their inputs say where in a batch a sample or a token is, or are lists of samples that differ in size. */
const byThemselves = [
  'anima_text_conditioner',
  'briafibo',
  'hidream',
  'hunyuanimage_glyph',
  'hunyuanvideo15',
  'hunyuanvideo_i2v',
  'lumina2_ragged',
  'qwenimage21',
  'qwenimage_layered',
  'wan_i2v',
  'zimage',
];

interface Two {
  model: TransformerModel;
  inputs: ForwardInputs;
  calls: readonly Prepared[];
}

/** The second of two equal steps of each. */
async function alone({ model, inputs, calls }: Two): Promise<Tensor[]> {
  const results: Tensor[] = [];
  for (const call of calls) {
    const session = model.newSession({ numInferenceSteps: 3 });
    (await session.forward(model.upload(call), {})).dispose();
    results.push([(await model.present(await session.forward(model.upload(call), {}), inputs)).sample].flat()[0]!);
    session.end();
  }
  return results;
}

async function together({ model, inputs, calls }: Two): Promise<Tensor[]> {
  const { rows } = rowsOfInputs(model, inputs, calls[0]!)!;
  const company = { runner: model.runner, kin: {}, most: 4 };
  const sessions = calls.map(() => model.newSession({ numInferenceSteps: 3 }));
  const results: Tensor[] = [];
  for (let step = 0; step < 2; step++) {
    const lanes = calls.map((call, i) => async (spansIn: Parameters<Parameters<typeof runLanes>[0][0]>[0]) => {
      const output = await sessions[i]!.forward(model.upload(call, { rows }), { spans: spansIn(company) });
      results[i] = [(await model.present(output, inputs)).sample].flat()[0]!;
    });
    for (const settled of await runLanes(lanes)) expect(settled.status).toBe('fulfilled');
  }
  for (const session of sessions) session.end();
  return results;
}

it.each(goldenModels)('%s', async (name) => {
  const folder = path.join('models', name);
  await using model = await AutoModel.fromPretrained(path.join(fixtures, folder));
  const { inputs } = await readGolden(folder);
  const call = model.hostInputs(inputs);
  if (byThemselves.includes(name)) {
    // What cannot be told from the inputs shows when the graph is made, and then each is computed alone.
    if (name !== 'wan_i2v') expect(rowsOfInputs(model, inputs, call)).toBeUndefined();
    return;
  }
  const hidden = call.tensors['hidden_states']!;
  const other = floatTensor(
    hidden.f32.map((value) => -0.5 * value),
    hidden.shape,
  );
  const two = { model, inputs, calls: [call, { ...call, tensors: { ...call.tensors, hidden_states: other } }] };
  // The blocks of a UNet cannot stand for each other.
  for (const isCached of name.startsWith('unet') ? [false] : [false, true]) {
    if (isCached)
      enableCache(model, {
        cacheConfig: { Fn: 1, Bn: 0, maxWarmupSteps: 1, residualDiffThreshold: 0.5, enableSeparateCfg: false },
        calibratorConfig: null,
      });
    const expected = await alone(two);
    const single = vi.spyOn(model.runner, 'run');
    const results = await together(two);
    expect(single).not.toHaveBeenCalled();
    single.mockRestore();
    for (const [i, result] of results.entries()) expect(relativeError(result, expected[i]!)).toBeLessThan(1e-5);
  }
});

it.each([
  'int8_per_tensor',
  'int8_per_row',
  'float8_per_tensor',
])('weights in %s: scales of activations are of each request', async (quantType) => {
  const folder = path.join('models', 'flux');
  await using model = await AutoModel.fromPretrained(path.join(fixtures, folder));
  await quantize(model, { quantType, diskCache: false });
  const { inputs } = await readGolden(folder);
  const call = model.hostInputs(inputs);
  const { hidden_states: hidden } = call.tensors;
  const other = floatTensor(
    hidden!.f32.map((value) => 0.01 * value),
    hidden!.shape,
  );
  const two = { model, inputs, calls: [call, { ...call, tensors: { ...call.tensors, hidden_states: other } }] };
  const expected = await alone(two);
  // What differs in the last bits may be rounded to another float8.
  for (const [i, result] of (await together(two)).entries())
    expect(relativeError(result, expected[i]!)).toBeLessThan(1e-3);
});
