/** Test support: runs a text encoder on recorded ids and holds every hidden state and output against the recording. */
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { rows, Tensor } from '../../../tensor/tensor.ts';
import { readSafetensors } from '../../../weights/safetensors/safetensors.ts';
import { loadModel } from '../../auto-model.ts';
import { GraphModel } from '../../graph-model.ts';
import type { LoadOptions } from '../../load/load-options.ts';
import { fixtures, relativeError } from '../../testing/golden.ts';

export async function loadEncoder(folder: string, options: LoadOptions = {}): Promise<GraphModel> {
  const model = await loadModel(folder, options);
  if (!(model instanceof GraphModel)) throw new Error(`${folder} holds no text encoder`);
  return model;
}

/** The tokens of x [batch, tokens, width] that are no padding; what a model computes at padding is nobody's business. */
function validRows(x: Tensor, mask: Tensor | undefined): Tensor {
  if (!mask || x.shape.length !== 3) return x;
  const width = x.dim(2);
  const values = x.float().f32;
  const kept = rows(mask)
    .flat()
    .flatMap((keep, row) => (keep ? Array.from(values.subarray(row * width, (row + 1) * width)) : []));
  return new Tensor('float32', Float32Array.from(kept), [kept.length / width, width]);
}

/** Tests against the recording in `fixtures/text-encoders/<kind>`. */
export function itMatchesTransformers(kind: string, tolerance = 1e-4): void {
  const folder = path.join(fixtures, 'text-encoders', kind);
  let model: GraphModel;
  let golden: Record<string, Tensor>;
  beforeAll(async () => {
    model = await loadEncoder(folder);
    golden = await readSafetensors(path.join(folder, 'io.safetensors'));
  });
  afterAll(() => model.dispose());

  it('every hidden state and output equal Transformers', async () => {
    const { input_ids, attention_mask } = golden;
    const outputs = await model.forward({ input_ids, attention_mask, output_hidden_states: true });
    const recorded = Object.keys(golden).filter((name) => !/^nomask|input_ids|attention_mask/.test(name));
    expect(Object.keys(outputs).sort()).toEqual(recorded.sort());
    for (const name of recorded) {
      expect(outputs[name]!.shape).toEqual(golden[name]!.shape);
      const [actual, expected] = [outputs[name]!, golden[name]!].map((x) => validRows(x, attention_mask));
      expect(relativeError(actual!, expected!), name).toBeLessThan(tolerance);
    }
  });

  it('equals Transformers without a mask', async () => {
    const { last_hidden_state } = await model.forward({ input_ids: golden.input_ids });
    const expected = golden['nomask.last_hidden_state'] ?? golden.last_hidden_state!;
    expect(relativeError(last_hidden_state!, expected)).toBeLessThan(tolerance);
  });

  it('returns a chosen hidden state alone', async () => {
    const { input_ids, attention_mask } = golden;
    const outputs = await model.forward({ input_ids, attention_mask, output_hidden_states: [-2] });
    const count = Object.keys(golden).filter((name) => name.startsWith('hidden_states.')).length;
    const expected = golden[`hidden_states.${count - 2}`]!;
    expect(
      relativeError(validRows(outputs['hidden_states.-2']!, attention_mask), validRows(expected, attention_mask)),
    ).toBeLessThan(tolerance);
  });
}
