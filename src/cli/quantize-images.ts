/** What quantising does to whole images: the built-in prompts before and after, as figures and side by side. */
import { DejaDitError } from '../errors/errors.ts';
import { imageGrid } from '../images/grid.ts';
import type { Image } from '../images/image.ts';
import { markdownTable } from '../metrics/markdown-table.ts';
import { psnr } from '../metrics/pixel-errors.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import type { QuantType } from '../quantize/quant-type.ts';
import { layerBytes, type QuantizeReport } from '../quantize/report.ts';
import { median } from './median.ts';
import { ProgressBar } from './progress.ts';

export interface Drawing {
  image: Image;
  /** Milliseconds. */
  steps: readonly number[];
}

export interface ImageComparison {
  prompts: number;
  /** PSNR in dB against float32 at equal seeds. */
  psnr: { mean: number; worst: number; each: number[] };
  /** Milliseconds per denoising step, medians. */
  step: { before: number; after: number };
}

export interface TypeResult {
  type: QuantType;
  report: QuantizeReport;
  images?: ImageComparison | undefined;
}

/**
 * An image for each prompt, whose seed is its place in the list.
 * @throws DejaDitError UNSUPPORTED for pipelines that make something else, or not from texts
 */
export async function drawAll(
  pipe: Pipeline,
  options: { label: string; prompts: readonly string[]; steps: number | undefined; signal: AbortSignal },
): Promise<Drawing[]> {
  const { label, prompts, steps, signal } = options;
  if (pipe.traits.output !== 'images' || pipe.traits.subject !== 'prompt')
    throw new DejaDitError(
      'UNSUPPORTED',
      `${pipe.className} draws no images from texts, which reports and calibration need`,
    );
  const bar = new ProgressBar(label, prompts.length);
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
    bar.update(drawings.length);
  }
  bar.clear();
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

/** As a line, if there were images. */
export function describe(images: ImageComparison | undefined): string[] {
  if (!images) return [];
  const { prompts, psnr, step } = images;
  const times = `${step.before.toFixed(1)} → ${step.after.toFixed(1)} ms a step`;
  return [
    `PSNR of ${prompts} images against float32: mean ${psnr.mean.toFixed(1)} dB, worst ${psnr.worst.toFixed(1)} dB; ${times}`,
  ];
}

/** One row per type; bits and ratio are those of the quantised layers. */
export function resultTable(results: readonly TypeResult[]): string {
  return markdownTable(
    ['type', 'PSNR', 'worst', 'bits per weight', 'of float32', 'model'],
    results.map(({ type, report: { components }, images }) => {
      const { before, after } = layerBytes(components.flatMap((component) => component.layers));
      const total = components.reduce((sum, component) => sum + component.bytes.after, 0);
      return [
        `\`${type}\``,
        images ? `${images.psnr.mean.toFixed(1)} dB` : '',
        images ? `${images.psnr.worst.toFixed(1)} dB` : '',
        ((32 * after) / before).toFixed(2),
        `${(after / before).toFixed(3)}×`,
        `${(total / 1e6).toFixed(1)} MB`,
      ];
    }),
  );
}

/** A row of images for each list, at most eight. */
export async function saveSheet(rows: readonly (readonly Drawing[])[], file: string): Promise<void> {
  const columns = Math.min(8, rows[0]!.length);
  const cells = rows.flatMap((row) => row.slice(0, columns).map(({ image }) => image));
  await imageGrid(cells, columns).save(file);
}
