/** What quantising does to whole images: the built-in prompts before and after, as figures and side by side. */
import { DejaDitError } from '../errors/errors.ts';
import { imageGrid } from '../images/grid.ts';
import type { Image } from '../images/image.ts';
import { psnr } from '../metrics/pixel-errors.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import { median } from './median.ts';

export interface Drawing {
  image: Image;
  /** Milliseconds. */
  steps: readonly number[];
}

/** What changed from one list of drawings to another of the same prompts. */
export interface ImageComparison {
  prompts: number;
  /** PSNR in dB against float32 at equal seeds. */
  psnr: { mean: number; worst: number; each: number[] };
  /** Milliseconds per denoising step, medians. */
  step: { before: number; after: number };
}

/**
 * An image for each prompt, whose seed is its place in the list.
 * @throws DejaDitError UNSUPPORTED for pipelines that make something else, or not from texts
 */
export async function drawAll(
  pipe: Pipeline,
  options: {
    prompts: readonly string[];
    steps: number | undefined;
    signal: AbortSignal;
    /** Called after every image with how many are done. */
    onImage?: (done: number) => void;
  },
): Promise<Drawing[]> {
  const { prompts, steps, signal, onImage } = options;
  if (pipe.traits.output !== 'images' || pipe.traits.subject !== 'prompt')
    throw new DejaDitError(
      'UNSUPPORTED',
      `${pipe.className} draws no images from texts, which reports and calibration need`,
    );
  const drawings: Drawing[] = [];
  for (const [seed, prompt] of prompts.entries()) {
    const { images, timings } = await pipe.generate({
      prompt,
      seed,
      numInferenceSteps: steps,
      signal,
      // Ctrl-C is only heard when the event loop turns.
      onStep: () => new Promise((resolve) => setImmediate(resolve)),
    });
    drawings.push({ image: images[0]!, steps: timings.steps });
    onImage?.(drawings.length);
  }
  return drawings;
}

export function compare(before: readonly Drawing[], after: readonly Drawing[]): ImageComparison {
  const each = before.map(({ image }, i) => psnr(image, after[i]!.image));
  const step = (drawings: readonly Drawing[]) => median(drawings.flatMap(({ steps }) => steps));
  return {
    prompts: each.length,
    psnr: { mean: each.reduce((sum, value) => sum + value, 0) / each.length, worst: Math.min(...each), each },
    step: { before: step(before), after: step(after) },
  };
}

/** A row of images for each list, at most eight. */
export async function saveSheet(rows: readonly (readonly Drawing[])[], file: string): Promise<void> {
  const columns = Math.min(8, rows[0]!.length);
  const cells = rows.flatMap((row) => row.slice(0, columns).map(({ image }) => image));
  await imageGrid(cells, columns).save(file);
}
