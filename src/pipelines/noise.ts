/** Seeds and the noise drawn from them, in the order in which Diffusers draws. */
import { DejaDitError } from '../errors/errors.ts';
import { Generator } from '../tensor/generator.ts';
import { floatTensor, type Shape, sizeOf, type Tensor } from '../tensor/tensor.ts';

/** One generator for a whole batch, or one per image. */
export class NoiseSource {
  readonly seed: number | readonly number[];
  readonly generators: readonly Generator[];

  /** @param batch images of the request; a list of seeds must have as many */
  constructor(seed: number | readonly number[] | undefined, batch: number) {
    this.seed = seed ?? Math.floor(Math.random() * 2 ** 32);
    const seeds = typeof this.seed === 'number' ? [this.seed] : this.seed;
    if (typeof this.seed !== 'number' && seeds.length !== batch) {
      throw new DejaDitError('INVALID_ARGUMENT', `${seeds.length} seeds for ${batch} images`, { path: 'seed' });
    }
    this.generators = seeds.map((value) => new Generator(value));
  }

  /** Standard normal noise [batch, …]. */
  randn(shape: Shape): Tensor {
    if (this.generators.length === 1) return this.generators[0]!.randn(shape);
    const [batch, ...rest] = shape as [number, ...number[]];
    const size = sizeOf(rest);
    const data = new Float32Array(batch * size);
    for (const [i, generator] of this.generators.entries())
      data.set(generator.randn([1, ...rest]).data as Float32Array, i * size);
    return floatTensor(data, shape);
  }
}
