/** Classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598): two predictions as one. Rounded to float32 after every operation, like PyTorch. */
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';

/** uncond + scale·(cond − uncond). */
export function guide(cond: Tensor, uncond: Tensor, scale: number): Tensor {
  const [c, u] = [cond.f32, uncond.f32];
  return floatTensor(
    c.map((value, i) => u[i]! + Math.fround(scale * Math.fround(value - u[i]!))),
    cond.shape,
  );
}

/** How outputs combine: `guide`, where there is an unconditional one. */
export function guidedBy(scale: number): (outputs: readonly Tensor[]) => Tensor {
  return ([cond, uncond]) => (uncond ? guide(cond!, uncond, scale) : cond!);
}

/**
 * `guide`, every vector of the last axis brought back to the length that it has in `cond`.
 * @param range of the factor that does so. Default: any
 */
export function guideKeepingNorm(
  cond: Tensor,
  uncond: Tensor,
  scale: number,
  [least, most]: readonly [number, number] = [0, Infinity],
): Tensor {
  const guided = guide(cond, uncond, scale);
  const width = cond.dim(-1);
  const [c, g] = [cond.f32, guided.f32];
  for (let at = 0; at < g.length; at += width) {
    const row = g.subarray(at, at + width);
    const factor = Math.fround(norm(c.subarray(at, at + width)) / norm(row));
    const within = Math.min(Math.max(factor, least), most);
    for (let i = 0; i < width; i++) row[i]! *= within;
  }
  return guided;
}

/**
 * cond + scale·(cond − uncond), which is `guide` with a scale that counts from 0.
 * @param maxNorm largest norm of a sample, as a multiple of its norm in `cond`; 0: no limit
 */
export function guideBeyond(
  cond: Tensor,
  uncond: Tensor,
  { scale, maxNorm }: { scale: number; maxNorm: number },
): Tensor {
  const [c, u] = [cond.f32, uncond.f32];
  const guided = c.map((value, i) => value + Math.fround(scale * Math.fround(value - u[i]!)));
  const size = c.length / cond.dim(0);
  for (let at = 0; maxNorm > 0 && at < c.length; at += size) {
    const sample = guided.subarray(at, at + size);
    const limit = Math.fround(norm(c.subarray(at, at + size)) * maxNorm);
    const factor = Math.fround(limit / norm(sample));
    if (factor < 1) for (let i = 0; i < size; i++) sample[i]! *= factor;
  }
  return floatTensor(guided, cond.shape);
}

function norm(values: Float32Array): number {
  return Math.fround(Math.sqrt(values.reduce((sum, value) => sum + value * value, 0)));
}

/**
 * `guide`, its spread brought back to that of `cond` (Lin et al. 2024, arXiv 2305.08891).
 * @param rescale how far: 0 not at all
 */
export function guideRescaled(
  cond: Tensor,
  uncond: Tensor,
  { scale, rescale }: { scale: number; rescale: number },
): Tensor {
  const guided = guide(cond, uncond, scale);
  return rescale === 0 ? guided : rescaled(guided, cond, rescale);
}

/** A guided output with its spread brought back to that of `cond`, in place. */
export function rescaled(guided: Tensor, cond: Tensor, rescale: number): Tensor {
  const size = cond.size / cond.dim(0);
  const [c, g] = [cond.f32, guided.f32];
  for (let at = 0; at < g.length; at += size) {
    const sample = g.subarray(at, at + size);
    const factor = rescale * (deviation(c.subarray(at, at + size)) / deviation(sample)) + 1 - rescale;
    for (let i = 0; i < size; i++) sample[i]! *= factor;
  }
  return guided;
}

function deviation(values: Float32Array): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}
