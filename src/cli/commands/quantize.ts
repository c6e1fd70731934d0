/** `deja-dit quantize`: checkpoints in fewer bits, and what that costs. */
import path from 'node:path';
import { DejaDitError } from '../../errors/errors.ts';
import { copyFiles } from '../../files/copy-folder.ts';
import { createFolder } from '../../files/create-folder.ts';
import { checkWritable } from '../../files/replace-file.ts';
import { compare, type Drawing, drawAll, type ImageComparison, saveSheet } from '../../lab/drawings.ts';
import { calibrationPrompts, firstOf, sweepPrompts } from '../../lab/prompts.ts';
import { markdownTable } from '../../metrics/markdown-table.ts';
import { DiffusionPipeline } from '../../pipelines/diffusion-pipeline.ts';
import type { Pipeline } from '../../pipelines/pipeline.ts';
import {
  type ConversionPlan,
  convertCheckpoint,
  planConversion,
} from '../../quantize/checkpoint/convert-checkpoint.ts';
import { saveQuantized } from '../../quantize/checkpoint/save-checkpoint.ts';
import type { QuantizeOptions } from '../../quantize/config/config.ts';
import { parseQuantType, type QuantType, svdVariant } from '../../quantize/config/quant-type.ts';
import { quantize as quantizeModels } from '../../quantize/quantize.ts';
import { layerBytes, type QuantizeReport, summarizeReport } from '../../quantize/report.ts';
import { createBackend } from '../../runtime/create-backend.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { resolveModel } from '../../weights/hub/hub.ts';
import { type ModelFlags, modelOf } from '../flags/model-flags.ts';
import { interrupted } from '../interrupt.ts';
import { jsonText } from '../output/format.ts';
import { layerProgress } from '../output/layer-progress.ts';
import { ProgressBar } from '../output/progress.ts';

export interface QuantizeFlags extends ModelFlags {
  /** Several are compared. */
  type: string[];
  out?: string;
  report?: boolean;
  sheet?: string;
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

interface TypeResult {
  type: QuantType;
  report: QuantizeReport;
  images?: ImageComparison | undefined;
}

export async function quantize(flags: QuantizeFlags): Promise<void> {
  const { out, type: names } = flags;
  if (out === undefined && !flags.report)
    throw new DejaDitError('INVALID_ARGUMENT', 'nothing to do: give --out <folder>, --report, or both');
  if (flags.sheet !== undefined && !flags.report)
    throw new DejaDitError('INVALID_ARGUMENT', '--sheet shows the images of --report');
  firstOf(sweepPrompts, flags.prompts);
  const types = names.map((name) => parseQuantType(name, '--type'));
  if (out !== undefined && types.length > 1) throw new DejaDitError('INVALID_ARGUMENT', '--out takes one --type');
  if (flags.sheet !== undefined) await checkWritable(flags.sheet);
  const { source, options: fromHub } = modelOf(flags);
  const from = await resolveModel(source, fromHub);
  const observes = (type: QuantType) =>
    flags.smooth === undefined ? svdVariant(type)?.calibrated : /^(activation|few_shot)$/.test(flags.smooth);
  if (!flags.report && !types.some(observes)) {
    const report = await onDisk(from, flags, quantizeOptions(flags, types[0]!));
    return print(flags, [{ type: types[0]!, report }]);
  }
  const plan =
    out === undefined ? undefined : await planConversion({ from, to: out }, quantizeOptions(flags, types[0]!));
  const results = await inMemory({ load: { from, fromHub }, plan }, flags, types);
  print(flags, results);
}

function quantizeOptions(flags: QuantizeFlags, quantType: string): QuantizeOptions {
  return {
    quantType,
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

async function onDisk(from: string, flags: QuantizeFlags, options: QuantizeOptions): Promise<QuantizeReport> {
  const progress = layerProgress();
  const place = { from, to: flags.out! };
  const onProgress = progress.update;
  return convertCheckpoint(place, options, { onProgress, signal: interrupted }).finally(progress.clear);
}

/** Type after type: loads the pipeline, observes it, quantises it, compares its images with float32's, and saves it. */
async function inMemory(
  {
    load: { from, fromHub },
    plan,
  }: { load: { from: string; fromHub: ReturnType<typeof modelOf>['options'] }; plan: ConversionPlan | undefined },
  flags: QuantizeFlags,
  types: readonly QuantType[],
): Promise<TypeResult[]> {
  const signal = interrupted;
  const programs = new ProgramCache(await createBackend({ threads: flags.threads }));
  const load = () => DiffusionPipeline.fromPretrained(from, { ...fromHub, programs });
  const draw = async (pipe: Pipeline, { label, prompts }: { label: string; prompts: readonly string[] }) => {
    const bar = new ProgressBar(label, prompts.length);
    const drawings = await drawAll(pipe, { prompts, steps: flags.steps, signal, onImage: (done) => bar.update(done) });
    bar.clear();
    return drawings;
  };
  const prompts = firstOf(sweepPrompts, flags.prompts);
  const calibration = { label: 'observing', prompts: calibrationPrompts.slice(0, 4) };

  let before: Drawing[] | undefined;
  const rows: Drawing[][] = [];
  const results: TypeResult[] = [];
  for (const type of types) {
    const pipe = await load();
    if (flags.report) before ??= await draw(pipe, { label: 'float32', prompts });
    const options = { measure: flags.report, calibrateFn: () => draw(pipe, calibration) };
    const progress = layerProgress();
    const report = await quantizeModels(
      pipe,
      { ...quantizeOptions(flags, type), ...options },
      { signal, onProgress: progress.update },
    ).finally(progress.clear);
    const after = before && (await draw(pipe, { label: type, prompts }));
    if (after) rows.push(after);
    results.push({ type, report, images: after && compare(before!, after) });
    if (flags.out !== undefined) await savePipeline(pipe, { report, plan, out: flags.out, quantType: type });
    await pipe.dispose();
  }
  if (flags.sheet !== undefined) await saveSheet([before!, ...rows], flags.sheet);
  await programs.backend.dispose();
  return results;
}

function print({ json, out, sheet }: QuantizeFlags, results: readonly TypeResult[]): void {
  if (json) {
    console.log(jsonText({ out, results }));
    return;
  }
  if (results.length > 1) console.log(resultTable(results));
  else
    for (const { report, images } of results) console.log([...summarizeReport(report), ...describe(images)].join('\n'));
  for (const file of [out, sheet]) if (file !== undefined) console.log(`written to ${file}`);
}

/** As a line, if there were images. */
function describe(images: ImageComparison | undefined): string[] {
  if (!images) return [];
  const { prompts, psnr, step } = images;
  const times = `${step.before.toFixed(1)} → ${step.after.toFixed(1)} ms a step`;
  return [
    `PSNR of ${prompts} images against float32: mean ${psnr.mean.toFixed(1)} dB, worst ${psnr.worst.toFixed(1)} dB; ${times}`,
  ];
}

/** One row per type; bits and ratio are those of the quantised layers. */
function resultTable(results: readonly TypeResult[]): string {
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

/** A pipeline's folder: what was quantised anew, the rest as it was. */
async function savePipeline(
  pipe: Pipeline,
  {
    report,
    plan,
    out,
    quantType,
  }: { report: QuantizeReport; plan: ConversionPlan | undefined; out: string; quantType: string },
): Promise<void> {
  const components = report.components.map(({ component }) => component);
  await createFolder(out, async (inside) => {
    for (const component of components) {
      const model = pipe.transformers[component] ?? pipe.models[component]!;
      await saveQuantized(model, path.join(inside, component), { quantType });
    }
    await copyFiles(plan?.others ?? [], inside);
  });
}
