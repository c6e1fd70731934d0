/** The diagonal Gaussian that variational encoders yield. */
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import type { NoiseStream } from '../../tensor/generator.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';

/** Moments [B, 2·C, …] as mean and log variance; the latter clamped as in Diffusers. */
export function gaussian(moments: SymbolicTensor): { mean: SymbolicTensor; logvar: SymbolicTensor } {
  const [mean, logvar] = moments.chunk(2, 1) as [SymbolicTensor, SymbolicTensor];
  return { mean, logvar: logvar.clamp(-30, 20) };
}

/** mean + exp(logvar / 2)·noise, the noise drawn as Diffusers draws it. */
export function sampleGaussian(mean: Tensor, logvar: Tensor, generator: NoiseStream): Tensor {
  const noise = generator.randn(mean.shape).f32;
  const [means, logvars] = [mean.f32, logvar.f32];
  return floatTensor(
    means.map((value, i) => value + Math.exp(0.5 * logvars[i]!) * noise[i]!),
    mean.shape,
  );
}
