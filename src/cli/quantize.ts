/** `deja-dit quantize`: checkpoints in fewer bits, and what that costs: errors per layer, and of whole images. */
import path from 'node:path';
import { DejaDitError } from '../errors/errors.ts';
import type { Image } from '../images/image.ts';
import { psnr } from '../metrics/pixel-errors.ts';
import { DiffusionPipeline } from '../pipelines/diffusion-pipeline.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import type { QuantizeOptions } from '../quantize/config.ts';
import { convertCheckpoint, copyOthers } from '../quantize/convert-checkpoint.ts';
import { checkVacant, createFolder } from '../quantize/create-folder.ts';
import { parseQuantType, svdVariant } from '../quantize/quant-type.ts';
import { quantize as quantizeModels } from '../quantize/quantize.ts';
import { type QuantizeReport, summarizeReport } from '../quantize/report.ts';
import { saveQuantized } from '../quantize/save-checkpoint.ts';
import { resolveModel } from '../weights/hub.ts';
import { abortOnInterrupt } from './interrupt.ts';
import { layerProgress } from './layer-progress.ts';
import { modelPath } from './model-path.ts';
import { calibrationPrompts, sweepPrompts } from './sweep/prompts.ts';

export interface QuantizeFlags {
  model?: string;
  type: string;
  out?: string;
  report?: boolean;
  prompts: number;
  steps?: number;
  components?: string[];
  exclude?: string[];
  blockSize?: number;
  /** Commander's negations: false where `--no-…` is given. */
  regional: boolean;
  fallback: boolean;
  diskCache: boolean;
  smooth?: string;
  precision?: string;
  refine?: number;
  threads?: number;
  json?: boolean;
}

export async function quantize(flags: QuantizeFlags): Promise<void> {
  if (flags.out === undefined && !flags.report)
    throw new DejaDitError('INVALID_ARGUMENT', 'nothing to do: give --out <folder>, --report, or both');
  const type = parseQuantType(flags.type, '--type');
  const options = quantizeOptions(flags);
  if (flags.out !== undefined) await checkVacant(flags.out);
  const calibrates =
    (svdVariant(type)?.calibrated && flags.smooth === undefined) || /^(activation|few_shot)$/.test(flags.smooth ?? '');
  const result =
    calibrates || flags.report
      ? await inMemory(flags, options)
      : { report: await onDisk(flags, options), images: undefined };
  if (flags.json)
    return console.log(JSON.stringify({ type, out: flags.out, ...result.report, images: result.images }, null, 2));
  console.log(summarizeReport(result.report).join('\n'));
  if (result.images) console.log(describeImages(result.images));
  if (flags.out !== undefined) console.log(`written to ${flags.out}`);
}

function quantizeOptions(flags: QuantizeFlags): QuantizeOptions {
  return {
    quantType: flags.type,
    excludeLayers: flags.exclude,
    componentsToQuantize: flags.components,
    regionalQuantize: flags.regional,
    perTensorFallback: flags.fallback,
    diskCache: flags.diskCache,
    blockSize: flags.blockSize,
    svdqKwargs: {
      smoothStrategy: flags.smooth,
      calibratePrecision: flags.precision,
      svdRefineIters: flags.refine,
    },
  };
}

async function onDisk(flags: QuantizeFlags, options: QuantizeOptions): Promise<QuantizeReport> {
  const progress = layerProgress();
  const from = await resolveModel(modelPath(flags.model));
  const onProgress = progress.update;
  const report = await convertCheckpoint({ from, to: flags.out! }, options, { onProgress, signal: abortOnInterrupt() });
  progress.clear();
  return report;
}

/** Images of the built-in prompts before and after. */
interface ImageComparison {
  prompts: number;
  /** PSNR in dB against float32 at equal seeds. */
  psnr: { mean: number; worst: number; each: number[] };
  /** Milliseconds per denoising step, medians. */
  step: { before: number; after: number };
}

/** Loads the pipeline, observes it where needed, quantises, compares, and saves. */
async function inMemory(
  flags: QuantizeFlags,
  options: QuantizeOptions,
): Promise<{ report: QuantizeReport; images: ImageComparison | undefined }> {
  const signal = abortOnInterrupt();
  const pipe = await DiffusionPipeline.fromPretrained(modelPath(flags.model), { threads: flags.threads, signal });
  const draw = (prompts: readonly string[]) => drawAll(pipe, { prompts, steps: flags.steps, signal });
  const prompts = sweepPrompts.slice(0, flags.prompts);
  const before = flags.report ? await draw(prompts) : undefined;
  const calibrateFn = () => draw(calibrationPrompts.slice(0, 4));
  const progress = layerProgress();
  const report = await quantizeModels(
    pipe,
    { ...options, measure: flags.report, calibrateFn },
    { signal, onProgress: progress.update },
  );
  progress.clear();
  const images = before && compare(before, await draw(prompts));
  if (flags.out !== undefined) await savePipeline(pipe, { report, out: flags.out, quantType: flags.type });
  await pipe.dispose();
  await pipe.programs.backend.dispose();
  return { report, images };
}

interface Drawing {
  image: Image;
  steps: readonly number[];
}

async function drawAll(
  pipe: Pipeline,
  { prompts, steps, signal }: { prompts: readonly string[]; steps: number | undefined; signal: AbortSignal },
): Promise<Drawing[]> {
  const drawings: Drawing[] = [];
  for (const [seed, prompt] of prompts.entries()) {
    const { images, timings } = await pipe.generate({ prompt, seed, numInferenceSteps: steps, signal });
    drawings.push({ image: images[0]!, steps: timings.steps });
  }
  return drawings;
}

function compare(before: readonly Drawing[], after: readonly Drawing[]): ImageComparison {
  const each = before.map(({ image }, i) => psnr(image, after[i]!.image));
  const step = (drawings: readonly Drawing[]) => {
    const sorted = drawings.flatMap(({ steps }) => steps).toSorted((a, b) => a - b);
    return sorted[sorted.length >> 1]!;
  };
  return {
    prompts: each.length,
    psnr: { mean: each.reduce((sum, value) => sum + value, 0) / each.length, worst: Math.min(...each), each },
    step: { before: step(before), after: step(after) },
  };
}

function describeImages({ prompts, psnr: { mean, worst }, step }: ImageComparison): string {
  const times = `${step.before.toFixed(1)} → ${step.after.toFixed(1)} ms a step`;
  return `PSNR of ${prompts} images against float32: mean ${mean.toFixed(2)} dB, worst ${worst.toFixed(2)} dB; ${times}`;
}

async function savePipeline(
  pipe: Pipeline,
  { report, out, quantType }: { report: QuantizeReport; out: string; quantType: string },
): Promise<void> {
  const components = report.components.map(({ component }) => component);
  await createFolder(out, async (inside) => {
    for (const component of components) {
      const model = pipe.transformers[component] ?? pipe.models[component]!;
      await saveQuantized(model, path.join(inside, component), { quantType });
    }
    await copyOthers({ from: pipe.path, to: inside, except: components });
  });
}
