/** LoRAs for text encoders: as with the sums in the encoder's weights, and at one strength for all requests. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { relativeError } from '../../models/testing/golden.ts';
import { matrix, matrixOf, multiply } from '../../tensor/linear-algebra/matrix.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { bundledModel } from '../../weights/bundled-model.ts';
import type { WeightStore } from '../../weights/weight-store.ts';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';
import type { Pipeline } from '../pipeline.ts';
import { loadLora, unloadLora } from './lora.ts';

let pipe: Pipeline;
let plain: Tensor;
const draw = async (loras?: Record<string, number>) => {
  const request = { prompt: 'red apple', seed: 7, numInferenceSteps: 2, outputType: 'latent' as const };
  return (await pipe.generate({ ...request, ...(loras ? { loras } : {}) })).latents;
};
beforeAll(async () => {
  pipe = await DiffusionPipeline.fromPretrained(bundledModel());
  plain = await draw();
});
afterAll(() => pipe.dispose());

it('adds to the encoder what its tensors say, as Kohya and Diffusers name them', async () => {
  const store = pipe.models['text_encoder']!.weights as WeightStore;
  const name = store.names.find((each) => each.endsWith('layers.0.mlp.fc1.weight'))!;
  const layer = name.slice(0, -'.weight'.length);
  const own = matrixOf(await store.read(name));
  const wave = (rows: number, columns: number) =>
    matrix(
      rows,
      columns,
      Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i) / 2),
    );
  const [down, up] = [wave(2, own.columns), wave(own.rows, 2)];
  const tensorOf = ({ data, rows, columns }: typeof own) => floatTensor(data, [rows, columns]);
  const flat = `lora_te1_${layer.replaceAll('.', '_')}`;
  await loadLora(pipe, { [`${flat}.lora_down.weight`]: tensorOf(down), [`${flat}.lora_up.weight`]: tensorOf(up) });
  const styled = await draw();
  expect(relativeError(styled, plain)).toBeGreaterThan(1e-3);
  expect((await draw({ default: 1 })).data).toEqual(styled.data);
  await expect(draw({})).rejects.toThrow('loras.default: this LoRA changes the text_encoder too');
  unloadLora(pipe);
  expect((await draw()).data).toEqual(plain.data);

  const dotted = `text_encoder.${layer}`;
  await loadLora(pipe, { [`${dotted}.lora_A.weight`]: tensorOf(down), [`${dotted}.lora_B.weight`]: tensorOf(up) });
  expect((await draw()).data).toEqual(styled.data);
  unloadLora(pipe);

  const added = multiply(up, down);
  store.set(
    name,
    floatTensor(
      own.data.map((x, i) => x + added.data[i]!),
      [own.rows, own.columns],
    ),
  );
  expect(relativeError(await draw(), styled)).toBeLessThan(1e-4);
  store.set(name, tensorOf(own));
});
