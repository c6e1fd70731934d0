/** Test support: runs a transformer with every block's result as an output and holds it against a recording. */
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { covers } from '../../../tests/covers.ts';
import { takeDown } from '../../runtime/host-tensors.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { AutoModel } from '../auto-model.ts';
import type { ForwardInputs } from '../inputs.ts';
import { blocks, epilogue, listEdge, type Piece, prologue } from '../pieces.ts';
import type { TransformerModel } from '../transformer-model.ts';
import { fixtures, readGolden, relativeError } from './golden.ts';

/** Every block's streams as `<list>.<i>.<stream>`, and the result as `output` (or `output.<i>` of a list). */
export async function runRecorded(model: TransformerModel, inputs: ForwardInputs): Promise<Record<string, Tensor>> {
  const { definition, runner, programs } = model;
  const record = (name: string): Piece => ({
    key: `record ${name}`,
    emit: ({ state, output }) => {
      for (const stream of ['hidden_states', 'encoder_hidden_states']) {
        if (state[stream]) output(`${name}.${stream}`, state[stream]);
      }
    },
  });
  const pieces = definition.blockLists.flatMap(({ name, count }, list) => [
    listEdge(definition, list, 'enter'),
    ...Array.from({ length: count }, (_, i) => [
      blocks(definition, { list, from: i, to: i + 1 }),
      record(`${name}.${i}`),
    ]).flat(),
    listEdge(definition, list, 'leave'),
  ]);
  const { state, statics } = model.prepare(inputs);
  const { outputs } = await runner.run({
    pieces: [prologue(definition), ...pieces, epilogue(definition)],
    state,
    statics,
  });
  const tensors: Record<string, Tensor> = {};
  for (const [name, tensor] of Object.entries(await takeDown(programs.backend, outputs))) tensors[name] = tensor;
  const { sample, audioSample } = definition.present(tensors.sample!, inputs);
  if (audioSample) tensors['output.1'] = audioSample;
  if (Array.isArray(sample)) for (const [i, tensor] of sample.entries()) tensors[`output.${i}`] = tensor;
  else tensors.output = sample;
  return tensors;
}

export interface ParityOptions {
  /** Folder under `fixtures/`. */
  folder: string;
  /** Recordings to check: `io`, `io_b2`, … */
  cases?: readonly string[];
  /** Largest max error / max value. */
  tolerance?: number;
}

/** Tests: every recorded block and output of a family, and the plain `forward` as users call it. */
export function itMatchesDiffusers({ folder, cases = ['io', 'io_b2'], tolerance = 1e-4 }: ParityOptions): void {
  let model: TransformerModel;
  beforeAll(async () => {
    model = await AutoModel.fromPretrained(path.join(fixtures, folder));
  });
  afterAll(() => model.dispose());

  it.each(cases)('every block and the output equal Diffusers (%s)', async (name) => {
    const noted = covers({ family: model.definition.className, check: 'diffusers' });
    const golden = await readGolden(folder, name);
    const actual = await runRecorded(model, golden.inputs);
    const lists = model.definition.blockLists;
    let compared = 0;
    for (const [key, expected] of Object.entries(golden.tensors)) {
      const isBlock = lists.some((list) => key.startsWith(`${list.name}.`) && !key.startsWith(`${list.name}.in.`));
      if (!isBlock && !key.startsWith('output')) continue;
      expect(actual[key], `${key} was not computed`).toBeDefined();
      expect(noted(relativeError(actual[key]!, expected)), key).toBeLessThan(tolerance);
      compared++;
    }
    expect(compared).toBeGreaterThan(lists.reduce((sum, list) => sum + list.count, 0));
  });

  it('forward() returns the recorded sample', async () => {
    const noted = covers({ family: model.definition.className, check: 'diffusers' });
    const golden = await readGolden(folder, cases[0]);
    const { sample, audioSample } = await model.forward(golden.inputs);
    const outputs = Array.isArray(sample)
      ? sample.map((tensor, i) => [tensor, `output.${i}`] as const)
      : [[sample, 'output'] as const, ...(audioSample ? [[audioSample, 'output.1'] as const] : [])];
    for (const [tensor, name] of outputs) {
      const expected = golden.tensors[name]!;
      expect(tensor.shape).toEqual(expected.shape);
      expect(noted(relativeError(tensor, expected))).toBeLessThan(tolerance);
    }
  });
}
