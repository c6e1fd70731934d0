/** What a ControlNet adds is part of the blocks: the probe sees it, and a forecast starts from it. Held against sums of our own. */
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { enableCache } from '../../api/enable-cache.ts';
import { AutoModel } from '../../models/auto-model.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import { fixtures, readGolden, relativeError } from '../../models/testing/golden.ts';
import { runRecorded } from '../../models/testing/parity.ts';
import { Generator } from '../../tensor/generator.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';

interface Family {
  name: string;
  /** Samples by input; blocks, as many as there are samples, run in this order. */
  lists: Record<string, number>;
}

const families: Family[] = [
  { name: 'flux', lists: { controlnet_block_samples: 2, controlnet_single_block_samples: 4 } },
  { name: 'qwenimage', lists: { controlnet_block_samples: 4 } },
  { name: 'sd3', lists: { block_controlnet_hidden_states: 4 } },
];

const sum = (a: Tensor, b: Tensor, sign = 1) =>
  floatTensor(
    a.f32.map((value, i) => value + sign * b.f32[i]!),
    a.shape,
  );
const meanSize = ({ f32 }: Tensor) => f32.reduce((total, value) => total + Math.abs(value), 0) / f32.length;

describe.each(families)('$name with a ControlNet', ({ name, lists }) => {
  it('measures what it adds, and adds it to what is remembered', async () => {
    await using model = await AutoModel.fromPretrained(path.join(fixtures, 'models', name));
    const { inputs } = await readGolden(`models/${name}`);
    const embedded = await model.embed(inputs);
    const noise = new Generator(1);
    const sample = () => noise.randn(embedded.shape);
    const samples = Object.fromEntries(
      Object.entries(lists).map(([list, count]) => [list, Array.from({ length: count }, sample)]),
    );
    const [first, last] = [Object.keys(lists)[0]!, Object.keys(lists).at(-1)!];
    /** With one sample in another's place. */
    const instead = (list: string, at: number, tensor: Tensor): ForwardInputs => ({
      ...inputs,
      ...samples,
      [list]: samples[list]!.map((own, i) => (i === at ? tensor : own)),
    });
    const change = sample();
    const moved = instead(first, 0, sum(samples[first]![0]!, change));

    // The sample of the first block moves what follows it by as much; the forecast has that, and nothing else is new.
    const beforeLast = lists[last]! - 2;
    const expected = await model.forward(instead(last, beforeLast, sum(samples[last]![beforeLast]!, change)));
    const computed = await model.forward(moved);
    const blocks = await runRecorded(model, { ...inputs, ...samples });
    const probe = sum(blocks['transformer_blocks.0.hidden_states']!, embedded, -1);

    enableCache(model, {
      cacheConfig: { FnComputeBlocks: 1, BnComputeBlocks: 1, maxWarmupSteps: 1, residualDiffThreshold: 0.99 },
    });
    const session = model.newSession({ numInferenceSteps: 3 });
    const call = async (step: ForwardInputs) =>
      (await model.present(await session.forward(model.prepare(step), { branch: 'cond' }), step)).sample as Tensor;
    await call({ ...inputs, ...samples });
    const cached = await call(moved);
    const report = session.report!('cond')!;
    session.end();
    expect(report.action).toBe('reuse');
    expect(report.diff).toBeCloseTo(meanSize(change) / meanSize(probe), 4);
    expect(relativeError(cached, expected.sample as Tensor)).toBeLessThan(1e-5);
    expect(relativeError(cached, computed.sample as Tensor)).toBeGreaterThan(1e-3);
  });
});
