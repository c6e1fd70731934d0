import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DejaDitError } from '../../../errors/errors.ts';
import { intTensor, rows, Tensor } from '../../../tensor/tensor.ts';
import { readSafetensors } from '../../../weights/safetensors/safetensors.ts';
import type { GraphModel } from '../../graph-model.ts';
import { fixtures, relativeError } from '../../testing/golden.ts';
import { loadEncoder } from '../testing/parity.ts';

const encoder = path.join(fixtures, 'pipelines/encoders/qwen2_5_vl_w28');

/** The rows of tokens [B, S, D] that are no padding. */
function withoutPadding(x: Tensor, mask: Tensor): Tensor {
  const width = x.dim(2);
  const tokens = rows(mask)
    .flat()
    .flatMap((keep, row) => (Number(keep) === 0 ? [] : [row]));
  const values = tokens.flatMap((row) => Array.from(x.f32.subarray(row * width, (row + 1) * width)));
  return new Tensor('float32', Float32Array.from(values), [tokens.length, width]);
}

/** Two texts of one and two pictures of several sizes, the shorter one behind padding. */
describe('Qwen2_5_VLForConditionalGeneration with pictures', () => {
  let recorded: Record<string, Tensor>;
  let model: GraphModel;
  beforeAll(async () => {
    recorded = await readSafetensors(path.join(fixtures, 'text-encoders/qwen2_5_vl_pictures.safetensors'));
    model = await loadEncoder(encoder);
  });
  afterAll(() => model.dispose());

  const inputs = () => {
    const { input_ids, attention_mask, pixel_values, image_grid_thw } = recorded;
    return { input_ids, attention_mask, pixel_values, image_grid_thw };
  };

  const kept = (x: Tensor) => withoutPadding(x, recorded.attention_mask!);

  it('has the hidden states of Transformers', async () => {
    const { mm_token_type_ids } = recorded;
    const outputs = await model.forward({ ...inputs(), mm_token_type_ids, output_hidden_states: true });
    const names = Object.keys(recorded).filter((name) => name.startsWith('hidden_states.'));
    expect(names).toHaveLength(4);
    for (const name of names)
      expect(relativeError(kept(outputs[name]!), kept(recorded[name]!)), name).toBeLessThan(1e-5);
  });

  it('counts positions as in text where it is not told which tokens are of pictures', async () => {
    const { last_hidden_state } = await model.forward(inputs());
    expect(relativeError(kept(last_hidden_state!), kept(recorded['plain.last_hidden_state']!))).toBeLessThan(1e-5);
  });

  it('names what does not fit', async () => {
    const grids = (values: number[]) => model.forward({ ...inputs(), image_grid_thw: intTensor(values, [1, 3]) });
    await expect(grids([1, 3, 4])).rejects.toThrow(
      /^image_grid_thw: a picture of \[1,3,4\] patches, expected .*multiples of 2/,
    );
    await expect(grids([1, 2, 2])).rejects.toThrow('image_grid_thw: pictures of 4 patches, but pixel_values has 68');
    const { pixel_values, image_grid_thw, attention_mask } = inputs();
    const textOnly = intTensor(Array<number>(2 * 19).fill(1), [2, 19]);
    await expect(model.forward({ input_ids: textOnly, attention_mask, pixel_values, image_grid_thw })).rejects.toThrow(
      'input_ids: 0 tokens of 567 for pictures of 17 tokens',
    );
    await expect(model.forward({ ...inputs(), image_grid_thw: null })).rejects.toThrow('image_grid_thw: missing');
  });
});

/** Two texts of one and two pictures, the shorter one behind padding; DeepStack's layers are not in the order of their mergers. */
describe('Qwen3VLForConditionalGeneration with pictures', () => {
  const folder = path.join(fixtures, 'text-encoders/qwen3_vl_pictures');
  let recorded: Record<string, Tensor>;
  let model: GraphModel;
  beforeAll(async () => {
    recorded = await readSafetensors(path.join(folder, 'io.safetensors'));
    model = await loadEncoder(folder);
  });
  afterAll(() => model.dispose());

  const inputs = () => {
    const { input_ids, attention_mask, pixel_values, image_grid_thw, mm_token_type_ids } = recorded;
    return { input_ids, attention_mask, pixel_values, image_grid_thw, mm_token_type_ids };
  };
  const error = (actual: Tensor, expected: Tensor) =>
    relativeError(withoutPadding(actual, recorded.attention_mask!), withoutPadding(expected, recorded.attention_mask!));

  it('has the hidden states of Transformers', async () => {
    const outputs = await model.forward({ ...inputs(), output_hidden_states: true });
    const names = Object.keys(recorded).filter((name) => name.startsWith('hidden_states.'));
    expect(names).toHaveLength(4);
    for (const name of names) expect(error(outputs[name]!, recorded[name]!), name).toBeLessThan(1e-5);
    const last = await model.forward({ ...inputs(), output_hidden_states: [-1], final_norm: false });
    expect(error(last['hidden_states.-1']!, recorded['raw.last']!)).toBeLessThan(1e-5);
  });
});

it.each([
  ['Qwen2.5-VL', encoder],
  ['Qwen3-VL', path.join(fixtures, 'pipelines/encoders/qwen3_vllm_p16_w12')],
])('%s is loaded without what it sees with where only text is read', async (_, folder) => {
  await using model = await loadEncoder(folder, { textOnly: true });
  expect(model.weights.names.filter((name) => name.includes('visual'))).toEqual([]);
  const input_ids = intTensor([1, 2], [1, 2]);
  await expect(model.forward({ input_ids, pixel_values: intTensor([1], [1, 1]) })).rejects.toThrow(DejaDitError);
  await using whole = await loadEncoder(folder);
  const [alone, beside] = await Promise.all([model.forward({ input_ids }), whole.forward({ input_ids })]);
  expect(alone.last_hidden_state!.data).toEqual(beside.last_hidden_state!.data);
});
