/** LoRAs as the programs in use write them, against recorded outputs; DoRA, LoKr and LoHa against the same sums in the weights. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AutoModel } from '../../models/auto-model.ts';
import { fixtures, readGolden, relativeError } from '../../models/testing/golden.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { quantize } from '../../quantize/quantize.ts';
import { kronecker, type Matrix, matrix, matrixOf, multiply } from '../../tensor/linear-algebra/matrix.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import type { WeightStore } from '../../weights/weight-store.ts';
import { loadLora, unloadLora } from './lora.ts';

const forwardOf = async (folder: string) => {
  const { inputs } = await readGolden(`models/${folder}`);
  return async (model: TransformerModel) => (await model.forward(inputs)).sample as Tensor;
};
/** Layers add in another order than PyTorch: 8e-7 is measured. */
const close = 1e-5;

describe.each(['flux', 'qwenimage'])('%s', (family) => {
  const folder = path.join(fixtures, 'lora/formats', family);
  const files = readdirSync(folder).filter((name) => name !== 'outputs.safetensors');
  let model: TransformerModel;
  let outputs: Record<string, Tensor>;
  let forward: Awaited<ReturnType<typeof forwardOf>>;
  beforeAll(async () => {
    model = await AutoModel.fromPretrained(path.join(fixtures, 'models', family));
    outputs = await readSafetensors(path.join(folder, 'outputs.safetensors'));
    forward = await forwardOf(family);
  });
  afterAll(() => model.dispose());

  it.each(files)('%s', async (file) => {
    await loadLora(model, path.join(folder, file));
    const expected = outputs[path.basename(file, '.safetensors')]!;
    expect(relativeError(await forward(model), expected)).toBeLessThan(close);
    unloadLora(model);
    expect(relativeError(await forward(model), expected)).toBeGreaterThan(0.01);
  });
});

it('takes the underscore that SimpleTuner leaves behind a layer for none', async () => {
  const forward = await forwardOf('qwenimage');
  const folder = path.join(fixtures, 'lora/formats/qwenimage');
  const tensors = await readSafetensors(path.join(folder, 'musubi_kohya.safetensors'));
  const renamed = Object.entries(tensors).map(
    ([name, tensor]) => [name.replace(/^([^.]+)\./, '$1_.'), tensor] as const,
  );
  await using model = await AutoModel.fromPretrained(path.join(fixtures, 'models/qwenimage'));
  await loadLora(model, Object.fromEntries(renamed));
  const expected = (await readSafetensors(path.join(folder, 'outputs.safetensors')))['musubi_kohya']!;
  expect(relativeError(await forward(model), expected)).toBeLessThan(close);
});

describe("PEFT's folders", () => {
  const folder = path.join(fixtures, 'lora/formats/peft');
  let model: TransformerModel;
  beforeAll(async () => {
    model = await AutoModel.fromPretrained(path.join(fixtures, 'models/flux'));
  });
  afterAll(() => model.dispose());

  it.each(['lokr', 'lokr_both', 'loha', 'rslora', 'dora'])('%s', async (name) => {
    const forward = await forwardOf('flux');
    const expected = (await readSafetensors(path.join(folder, 'outputs.safetensors')))[name]!;
    await loadLora(model, path.join(folder, name));
    expect(relativeError(await forward(model), expected)).toBeLessThan(close);
    unloadLora(model);
    expect(relativeError(await forward(model), expected)).toBeGreaterThan(0.01);
  });
});

describe('other products', () => {
  const flux = path.join(fixtures, 'models/flux');
  let seed = 1;
  /** Numbers between -0.5 and 0.5. */
  const random = (rows: number, columns: number) =>
    matrix(
      rows,
      columns,
      Float32Array.from({ length: rows * columns }, () => {
        seed = (seed * 48271) % 2147483647;
        return seed / 2147483647 - 0.5;
      }),
    );
  const tensorOf = ({ data, rows, columns }: Matrix) => floatTensor(data, [rows, columns]);
  const tensors = (matrices: Record<string, Matrix>): Record<string, Tensor> =>
    Object.fromEntries(Object.entries(matrices).map(([name, m]) => [name, tensorOf(m)]));
  const times = (a: Matrix, b: Matrix) =>
    matrix(
      a.rows,
      a.columns,
      a.data.map((x, i) => x * b.data[i]!),
    );
  const rowsOf = ({ data, columns }: Matrix, from: number, to: number) =>
    matrix(to - from, columns, data.slice(from * columns, to * columns));
  const q = 'transformer_blocks.0.attn.to_q';
  const [w1a, w1b, w2a, w2b] = [random(32, 3), random(3, 32), random(32, 2), random(2, 32)];

  let forward: Awaited<ReturnType<typeof forwardOf>>;
  let model: TransformerModel;
  beforeAll(async () => {
    forward = await forwardOf('flux');
    model = await AutoModel.fromPretrained(flux);
  });
  afterAll(() => model.dispose());

  /** The output of a model whose weights are replaced. */
  async function withWeights(changes: Record<string, (own: Matrix) => Matrix>, biases: Record<string, Tensor> = {}) {
    const changed = await AutoModel.fromPretrained(flux);
    const store = changed.weights as WeightStore;
    for (const [layer, change] of Object.entries(changes))
      store.set(`${layer}.weight`, tensorOf(change(matrixOf(await store.read(`${layer}.weight`)))));
    for (const [layer, bias] of Object.entries(biases)) {
      const own = await store.read(`${layer}.bias`);
      store.set(`${layer}.bias`, floatTensor(own.f32.map((x, i) => x + bias.f32[i]!)));
    }
    const output = await forward(changed);
    await changed.dispose();
    return output;
  }
  const plus = (added: Matrix, scale: number) => (own: Matrix) =>
    matrix(
      own.rows,
      own.columns,
      own.data.map((x, i) => x + scale * added.data[i]!),
    );
  /** DoRA as its paper writes it: the sum, each row brought to its length. */
  const renormed = (added: Matrix, scale: number, magnitude: Float32Array) => (own: Matrix) => {
    const sum = plus(added, scale)(own);
    return matrix(
      sum.rows,
      sum.columns,
      sum.data.map((x, i) => {
        const row = Math.floor(i / sum.columns);
        const part = sum.data.subarray(row * sum.columns, (row + 1) * sum.columns);
        return (x * magnitude[row]!) / Math.hypot(...part);
      }),
    );
  };
  async function expectSame(lora: Record<string, Tensor>, expected: Tensor, strength = 1) {
    await loadLora(model, lora, { strength });
    const output = await forward(model);
    unloadLora(model);
    expect(relativeError(output, expected)).toBeLessThan(close);
    expect(relativeError(await forward(model), expected)).toBeGreaterThan(0.001);
  }

  it('LoHa', async () => {
    const lora = {
      ...tensors({
        [`${q}.hada_w1_a`]: w1a,
        [`${q}.hada_w1_b`]: w1b,
        [`${q}.hada_w2_a`]: w2a,
        [`${q}.hada_w2_b`]: w2b,
      }),
      [`${q}.alpha`]: floatTensor([1.5], []),
    };
    const added = times(multiply(w1a, w1b), multiply(w2a, w2b));
    await expectSame(lora, await withWeights({ [q]: plus(added, 0.5 * 0.7) }), 0.7);
  });

  it('LoKr: factors whole and as products, under the names of LyCORIS', async () => {
    const flat = `lycoris_${q.replaceAll('.', '_')}`;
    const [left, right] = [random(4, 8), random(8, 4)];
    const whole = tensors({ [`${flat}.lokr_w1`]: left, [`${flat}.lokr_w2`]: right });
    // Of two whole factors alpha means nothing.
    await expectSame(
      { ...whole, [`${flat}.alpha`]: floatTensor([7], []) },
      await withWeights({ [q]: plus(kronecker(left, right), 1) }),
    );
    const [up, down] = [random(8, 2), random(2, 4)];
    const thin = tensors({ [`${flat}.lokr_w1`]: left, [`${flat}.lokr_w2_a`]: up, [`${flat}.lokr_w2_b`]: down });
    await expectSame(
      { ...thin, [`${flat}.alpha`]: floatTensor([1], []) },
      await withWeights({ [q]: plus(kronecker(left, multiply(up, down)), 0.5) }),
    );
  });

  it.each([
    ['between its blocks', 6, 16],
    ['across its blocks', 4, 24],
  ])('LoKr on fused queries, keys and values, cut %s', async (_, a, b) => {
    const [left, right] = [random(a, 4), random(b, 8)];
    const layer = 'lora_unet_double_blocks_1_txt_attn_qkv';
    const added = kronecker(left, right);
    const part = (index: number) => plus(rowsOf(added, 32 * index, 32 * (index + 1)), 1);
    const attention = 'transformer_blocks.1.attn.add_';
    const expected = await withWeights({
      [`${attention}q_proj`]: part(0),
      [`${attention}k_proj`]: part(1),
      [`${attention}v_proj`]: part(2),
    });
    await expectSame(tensors({ [`${layer}.lokr_w1`]: left, [`${layer}.lokr_w2`]: right }), expected);
  });

  it('differences of a weight and a bias, and a bias of a LoRA', async () => {
    const [difference, bias] = [random(32, 32), tensorOf(random(1, 32)).reshape([32])];
    const expected = await withWeights({ [q]: plus(difference, 1) }, { [q]: bias });
    await expectSame(
      { [`diffusion_model.${q}.diff`]: tensorOf(difference), [`diffusion_model.${q}.diff_b`]: bias },
      expected,
    );
    const pair = tensors({ [`${q}.lora_A.weight`]: w1b, [`${q}.lora_B.weight`]: w1a });
    await expectSame(
      { ...pair, [`${q}.lora_B.bias`]: bias },
      await withWeights({ [q]: plus(multiply(w1a, w1b), 1) }, { [q]: bias }),
    );
  });

  describe('DoRA', () => {
    const magnitude = Float32Array.from({ length: 32 }, (_, i) => 0.5 + i / 20);
    const added = multiply(w1a, w1b);
    const lora = {
      ...tensors({ [`transformer.${q}.lora_A.weight`]: w1b, [`transformer.${q}.lora_B.weight`]: w1a }),
      [`transformer.${q}.lora_magnitude_vector`]: floatTensor(magnitude),
    };

    it('at any strength, under the names of PEFT and Kohya', async () => {
      await expectSame(lora, await withWeights({ [q]: renormed(added, 1, magnitude) }));
      await expectSame(lora, await withWeights({ [q]: renormed(added, 0.4, magnitude) }), 0.4);
      const flat = `lora_transformer_${q.replaceAll('.', '_')}`;
      const kohya = {
        ...tensors({ [`${flat}.lora_down.weight`]: w1b, [`${flat}.lora_up.weight`]: w1a }),
        [`${flat}.dora_scale`]: floatTensor(magnitude, [32, 1]),
      };
      await expectSame(kohya, await withWeights({ [q]: renormed(added, 1, magnitude) }));
    });

    it('cut with the layer, beside another LoRA', async () => {
      const [down, up] = [random(2, 32), random(96, 2)];
      const fused = 'diffusion_model.double_blocks.0.img_attn.qkv';
      const lengths = Float32Array.from({ length: 96 }, (_, i) => 0.5 + i / 60);
      await loadLora(
        model,
        {
          ...tensors({ [`${fused}.lora_A.weight`]: down, [`${fused}.lora_B.weight`]: up }),
          [`${fused}.dora_scale`]: floatTensor(lengths),
        },
        { name: 'dora' },
      );
      await loadLora(model, tensors({ [`${q}.lora_A.weight`]: w2b, [`${q}.lora_B.weight`]: w2a }), { name: 'other' });
      const output = await forward(model);
      unloadLora(model);
      const whole = multiply(up, down);
      const part = (index: number) =>
        renormed(rowsOf(whole, 32 * index, 32 * (index + 1)), 1, lengths.slice(32 * index, 32 * (index + 1)));
      const expected = await withWeights({
        [q]: (own) => plus(multiply(w2a, w2b), 1)(part(0)(own)),
        'transformer_blocks.0.attn.to_k': part(1),
        'transformer_blocks.0.attn.to_v': part(2),
      });
      expect(relativeError(output, expected)).toBeLessThan(close);
    });

    it('at strength 0 it is not there', async () => {
      const before = await forward(model);
      await loadLora(model, lora, { strength: 0 });
      expect((await forward(model)).data).toEqual(before.data);
      unloadLora(model);
    });

    it('beside offloaded weights as in memory, and beside quantised ones by what they stand for', async () => {
      await loadLora(model, lora);
      const inMemory = await forward(model);
      unloadLora(model);
      const offloaded = await AutoModel.fromPretrained(flux, { layerwiseOffload: true });
      await loadLora(offloaded, lora);
      expect((await forward(offloaded)).data).toEqual(inMemory.data);
      await offloaded.dispose();
      const small = await AutoModel.fromPretrained(flux);
      await quantize(small, { quantType: 'int8_weight_only' });
      await loadLora(small, lora);
      const error = relativeError(await forward(small), inMemory);
      expect(error).toBeGreaterThan(close);
      expect(error).toBeLessThan(0.05);
      await small.dispose();
    });
  });

  it.each<[string, Record<string, Tensor>, string]>([
    ['half a LoKr', tensors({ [`${q}.lokr_w1`]: w1a }), `layer "${q}" has no 'lokr_w2'`],
    [
      'a LoKr of other sizes',
      tensors({ [`${q}.lokr_w1`]: random(3, 4), [`${q}.lokr_w2`]: random(8, 8) }),
      'the product is [24], a layer of weight [32,32] needs [32]',
    ],
    [
      'factors that do not fit',
      tensors({ [`${q}.lokr_w1`]: w1a, [`${q}.lokr_w2_a`]: random(4, 2), [`${q}.lokr_w2_b`]: random(3, 4) }),
      `${q}: 'lokr_w2_a' is [4,2], 'lokr_w2_b' [3,4]`,
    ],
    [
      'two products at once',
      tensors({ [`${q}.lora_A.weight`]: w1b, [`${q}.lora_B.weight`]: w1a, [`${q}.diff`]: w1a }),
      `layer "${q}" has 'diff' beside 'lora_A or lora_down'`,
    ],
    [
      'lengths without a product',
      { [`${q}.diff_b`]: floatTensor([1]), [`${q}.dora_scale`]: floatTensor([1]) },
      "has 'lora_magnitude_vector or dora_scale' and no product",
    ],
    [
      'a layer under two names',
      tensors({
        [`${q}.lora_A.weight`]: w1b,
        [`${q}.lora_B.weight`]: w1a,
        'double_blocks.0.img_attn.qkv.lora_A.weight': random(2, 32),
        'double_blocks.0.img_attn.qkv.lora_B.weight': random(96, 2),
      }),
      'is there under two names',
    ],
    [
      'a fused layer of another size',
      tensors({
        'double_blocks.0.img_attn.qkv.lora_A.weight': random(2, 32),
        'double_blocks.0.img_attn.qkv.lora_B.weight': random(90, 2),
      }),
      'the up matrix is [90,2], transformer_blocks.0.attn.to_q of weight [32,32] needs [32 of its rows,2]',
    ],
    ['OFT', tensors({ [`${q}.oft_blocks`]: w1a }), 'is of an orthogonal adapter (OFT), which is not run'],
    ["a UNet's", tensors({ 'unet.down_blocks.0.attentions.0.proj_in.lora_A.weight': w1b }), 'is for a UNet'],
    [
      'a UNet of Kohya',
      tensors({
        'lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight': w1b,
        'lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight': w1a,
      }),
      'is for layers that this model has not: "down_blocks_0_attentions_0_proj_in"',
    ],
    ['a convolution in Tucker form', tensors({ [`${q}.lora_mid.weight`]: w1a }), 'is of a convolution in Tucker form'],
  ])('refuses %s', async (_, lora, message) => {
    await expect(loadLora(model, lora)).rejects.toThrow(message);
    expect(model.weights.lora!.names).toEqual([]);
  });
});
