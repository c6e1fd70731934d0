/** Seeds and the noise drawn from them, in the order in which Diffusers draws. */
import { DejaDitError } from '../../errors/errors.ts';
import { Generator, type NoiseStream } from '../../tensor/generator.ts';
import { join } from '../../tensor/slices.ts';
import type { Shape, Tensor } from '../../tensor/tensor.ts';
import type { GenerateOptions, GenerateResult, Seed } from '../schema/options.ts';

/** What the noise is drawn from. */
export type NoiseOrigin =
  | { seed: NonNullable<GenerateOptions['seed']>; generator?: undefined }
  | { generator: NonNullable<GenerateOptions['generator']> };

/**
 * One stream of noise for a whole batch, or one per image: then every image gets the noise that it would get alone, at its start
 * and at every step.
 */
export class NoiseSource implements NoiseStream {
  /** Undefined where the caller brought the generators. */
  readonly seed: GenerateResult['seed'];
  readonly #generators: readonly [Generator, ...Generator[]];

  /** @param batch images of the request; a list of seeds must have as many */
  constructor(source: NoiseOrigin, batch: number) {
    if (source.generator) {
      const { generator } = source;
      const own = [generator].flat() as [Generator, ...Generator[]];
      if (Array.isArray(generator) && own.length !== batch)
        throw new DejaDitError('INVALID_ARGUMENT', `${own.length} generators for ${batch} images`, {
          path: 'generator',
        });
      this.#generators = own;
      this.seed = undefined;
      return;
    }
    const { seed } = source;
    const seeds = [seed].flat().map(readSeed);
    if (Array.isArray(seed) && seeds.length !== batch)
      throw new DejaDitError('INVALID_ARGUMENT', `${seeds.length} seeds for ${batch} images`, { path: 'seed' });
    this.seed = Array.isArray(seed) ? seeds : seeds[0]!;
    this.#generators = seeds.map((value) => new Generator(value)) as [Generator, ...Generator[]];
  }

  /** Whether every image has a stream of its own. */
  get perImage(): boolean {
    return this.#generators.length > 1;
  }

  /** Standard normal noise [batch, …], in float32 as everything that pipelines compute. */
  randn(shape: Shape): Tensor {
    const [first, ...others] = this.#generators;
    if (others.length === 0) return first.randn(shape);
    const own = [1, ...shape.slice(1)];
    return join(
      [first, ...others].map((generator) => generator.randn(own)),
      0,
    );
  }
}

/** An integer as a number where that is exact. */
function readSeed(value: Seed): number | bigint {
  const seed = BigInt(value);
  return Number.isSafeInteger(Number(seed)) ? Number(seed) : seed;
}
