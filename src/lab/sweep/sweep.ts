/**
 * Runs prompts under one cache setting after the other and compares every image with the uncached one of the same seed. What
 * settings there are is `methods.ts`; tables and plots are `report.ts`.
 */
import { disableCache, type EnableCacheOptions, enableCache } from '../../api/enable-cache.ts';
import type { Image } from '../../images/image.ts';
import { psnr } from '../../metrics/pixel-errors.ts';
import { DiffusionPipeline, type FromPretrainedOptions } from '../../pipelines/diffusion-pipeline.ts';
import type { Pipeline } from '../../pipelines/pipeline.ts';
import type { GenerateOptions } from '../../pipelines/schema/options.ts';
import { createBackend } from '../../runtime/create-backend.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { TimedBackend } from '../timed-backend.ts';

/** A way to make images faster: fewer steps, or a cache. */
export interface Setting {
  method: string;
  /** What distinguishes it from the method's other settings: "R 0.24", "14 steps". */
  label: string;
  steps?: number;
  cache?: EnableCacheOptions;
}

/** A setting's result over all prompts. */
export interface Point {
  method: string;
  label: string;
  /** Uncached FLOPs of the transformer over the setting's, all blocks, embeddings and projections included. */
  speedup: number;
  /** PSNR in dB against the uncached images: mean and worst over the prompts. */
  psnr: number;
  worst: number;
  /** Mean seconds of denoising per image. */
  seconds: number;
}

export interface SweepOptions {
  /** A folder or repository, and what loading it is told. */
  model: { source: string; options?: FromPretrainedOptions };
  prompts: readonly string[];
  /** Of the uncached run and of every cached one. */
  steps: number;
  size?: { width: number; height: number };
  /** Prompts per request, 1 unless given. Decisions made at run time are made for a request as a whole. */
  batch?: number;
  threads?: number;
  /** Bytes that compiled programs may take together, and a request besides the weights. */
  maxProgramBytes?: number | undefined;
  maxMemory?: number | undefined;
  signal?: AbortSignal;
  /** Called after every image. */
  onImage?: (about: { method: string; label: string }) => void;
}

interface Made {
  image: Image;
  /** Of all steps but the first. */
  laterFlops: number;
  seconds: number;
}

/** A loaded pipeline whose work is counted, and the uncached images of its prompts. */
export class Sweep {
  private readonly references: Made[] = [];

  private constructor(
    readonly options: SweepOptions,
    readonly pipe: Pipeline,
    private readonly backend: TimedBackend,
  ) {}

  /** Loads the model and makes the uncached images. */
  static async start(options: SweepOptions): Promise<Sweep> {
    const { model, threads, maxProgramBytes, signal } = options;
    const backend = new TimedBackend(await createBackend({ threads }));
    const pipe = await DiffusionPipeline.fromPretrained(model.source, {
      ...model.options,
      programs: new ProgramCache(backend, { maxBytes: maxProgramBytes }),
      signal,
    });
    const sweep = new Sweep(options, pipe, backend);
    sweep.references.push(...(await sweep.makeAll(options.steps, { method: 'uncached', label: '' })));
    return sweep;
  }

  get uncachedSeconds(): number {
    return mean(this.references.map(({ seconds }) => seconds));
  }

  async measure({ method, label, steps = this.options.steps, cache }: Setting): Promise<Point> {
    if (cache) enableCache(this.pipe, cache);
    const made = await this.makeAll(steps, { method, label }).finally(() => disableCache(this.pipe));
    const scores = made.map(({ image }, i) => psnr(this.references[i]!.image, image));
    const finite = scores.filter(Number.isFinite);
    return {
      method,
      label,
      speedup: this.work(this.references) / this.work(made),
      // An image equal to the uncached one has no finite PSNR; as in `deja-dit metrics` it does not count for the mean.
      psnr: mean(finite.length > 0 ? finite : scores),
      worst: Math.min(...scores),
      seconds: mean(made.map(({ seconds }) => seconds)),
    };
  }

  /**
   * FLOPs of the transformer. The first step's cannot be told from those of the text encoders before it, but every first step is
   * computed in full and so costs as much as an uncached one.
   */
  private work(made: readonly Made[]): number {
    const step = mean(this.references.map(({ laterFlops }) => laterFlops)) / (this.options.steps - 1);
    return sum(made.map(({ laterFlops }) => step + laterFlops));
  }

  async end(): Promise<void> {
    await this.pipe.dispose();
    await this.backend.dispose();
  }

  private async makeAll(steps: number, about: { method: string; label: string }): Promise<Made[]> {
    const { prompts, batch = 1, onImage } = this.options;
    const made: Made[] = [];
    while (made.length < prompts.length) {
      const from = made.length;
      made.push(...(await this.make({ from, to: Math.min(from + batch, prompts.length), steps })));
      for (let i = from; i < made.length; i++) onImage?.(about);
    }
    return made;
  }

  /** One request for the prompts from one index to another. A prompt's seed is its index. */
  private async make({ from, to, steps }: { from: number; to: number; steps: number }): Promise<Made[]> {
    const { prompts, size, maxMemory, signal } = this.options;
    const { backend } = this;
    let afterFirst = 0;
    let laterFlops = 0;
    const options: GenerateOptions = {
      prompt: prompts.slice(from, to),
      seed: Array.from({ length: to - from }, (_, i) => from + i),
      numInferenceSteps: steps,
      ...size,
      maxMemory,
      ...(signal ? { signal } : {}),
      onStep: ({ step }) => {
        if (step === 1) afterFirst = backend.flops;
        laterFlops = backend.flops - afterFirst;
      },
    };
    const { images, timings } = await this.pipe.generate(options);
    const share = 1 / images.length;
    const seconds = (share * timings.denoise) / 1000;
    return images.map((image) => ({ image, laterFlops: share * laterFlops, seconds }));
  }
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const mean = (values: readonly number[]) => sum(values) / values.length;
