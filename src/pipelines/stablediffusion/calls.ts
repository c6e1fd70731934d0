/** What the pipelines around `UNet2DConditionModel` share: sizes, and the inputs of a call. */
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { perSample } from '../request/latents.ts';
import type { Plan } from '../request/plan.ts';
import { fromModel } from '../schema/pipeline-options.ts';
import { aLatent } from '../schema/sizes.ts';

interface Sized {
  vae: Autoencoder;
  transformer: TransformerModel;
}

/** Height or width: whole latents, by default those that the model was trained at. */
export const pixelEdge = {
  default: fromModel(
    "the UNet's sample_size",
    ({ vae, transformer }: Sized) => (transformer.traits.sampleSize ?? 64) * vae.spatialScale,
  ),
  multipleOf: aLatent,
};

/** What a call gets besides its branch's embeddings. @param others with a row per picture */
export function unetInputs(others: Readonly<Record<string, Tensor>> = {}): Plan['inputsAt'] {
  return (sample, timestep): ForwardInputs => ({ sample, timestep: perSample(sample, timestep), ...others });
}

/**
 * What a latent consistency model (Luo et al. 2023, arXiv 2310.04378) is told of the guidance it stands for: [B, features], sines and
 * cosines of 1000 · (scale − 1).
 */
export function guidanceFeatures(scale: number, { batch, features }: { batch: number; features: number }): Tensor {
  const half = Math.floor(features / 2);
  const angles = Float32Array.from(
    { length: half },
    (_, i) => 1000 * (scale - 1) * Math.exp((-Math.log(10000) * i) / (half - 1)),
  );
  const row = new Float32Array(features);
  row.set(angles.map(Math.sin));
  row.set(angles.map(Math.cos), half);
  return floatTensor(Array<number[]>(batch).fill(Array.from(row)).flat(), [batch, features]);
}
