/** `deja-dit generate`: text to image or video files, with a progress bar, previews and machine-readable timings. */
import path from 'node:path';
import { type EnableCacheOptions, enableCache } from '../../api/enable-cache.ts';
import { summary } from '../../api/summary.ts';
import { DejaDitError } from '../../errors/errors.ts';
import { renderToTerminal } from '../../images/terminal.ts';
import type { ComputeDtype } from '../../models/compute-dtype.ts';
import { DiffusionPipeline } from '../../pipelines/diffusion-pipeline.ts';
import { loadLora } from '../../pipelines/lora/lora.ts';
import type { Pipeline, PipelineTraits } from '../../pipelines/pipeline.ts';
import type { GenerateOptions, StepEvent } from '../../pipelines/schema/options.ts';
import type { QuantizeOptions } from '../../quantize/config/config.ts';
import type { BackendChoice } from '../../runtime/create-backend.ts';
import { launchedBy } from '../../runtime/launched-by.ts';
import type { CacheFlags } from '../flags/cache-flags.ts';
import { cacheOptions } from '../flags/cache-options.ts';
import { type ComponentFlags, componentsOf } from '../flags/component-flags.ts';
import { type MemoryFlags, memoryOptions } from '../flags/memory-flags.ts';
import { type ModelFlags, modelOf } from '../flags/model-flags.ts';
import { type OffloadFlags, offloadOptions, summarizeOffload } from '../flags/offload-flags.ts';
import { type ParallelFlags, parallelOptions } from '../flags/parallel-flags.ts';
import { type RequestFlags, requestOptions } from '../flags/request-flags.ts';
import { interrupted } from '../interrupt.ts';
import { milliseconds } from '../output/format.ts';
import { ProgressBar, redraws } from '../output/progress.ts';
import { checkOut, type OutputFlags, outputFile, savePictures } from '../output/save-pictures.ts';

export interface GenerateFlags
  extends RequestFlags,
    CacheFlags,
    ComponentFlags,
    MemoryFlags,
    ModelFlags,
    OffloadFlags,
    OutputFlags,
    ParallelFlags {
  loraPath?: string;
  loraName?: string;
  loraScale?: number;
  quantizeType?: string;
  preview?: boolean;
  json?: boolean;
  quiet?: boolean;
  backend?: BackendChoice;
  computeDtype?: ComputeDtype;
  threads?: number;
}

export async function generate(prompt: string, given: GenerateFlags): Promise<void> {
  // Of several ranks the first speaks.
  const flags =
    (launchedBy()?.rank ?? 0) > 0 ? { ...given, quiet: true, json: false, preview: false, summary: false } : given;
  const begin = performance.now();
  await checkOut(flags);
  const signal = interrupted;
  const { source, options: fromHub } = modelOf(flags);
  const { backend, computeDtype, threads } = flags;
  const { quantizeConfig, ...others } = await settings(flags);
  const memory = memoryOptions(flags);
  const layerwiseOffload = offloadOptions(flags);
  const lora = loraFile(flags);
  const pipe = await DiffusionPipeline.fromPretrained(source, {
    ...fromHub,
    ...memory.load,
    ...componentsOf(flags),
    backend,
    computeDtype,
    threads,
    layerwiseOffload,
    layerwiseTextOffload: flags.layerwiseTextOffload,
  });
  if (lora !== undefined) await loadLora(pipe, lora, { strength: flags.loraScale, signal });
  if (Object.values(others).some(Boolean)) enableCache(pipe, others);
  if (given.preview && launchedBy() && Object.values(pipe.autoencoders).some(({ isShared }) => isShared))
    throw new DejaDitError('INVALID_ARGUMENT', 'all ranks decode together (--parallel-vae); leave one of the two out', {
      path: '--preview',
    });
  if (quantizeConfig) {
    const lines = await quantizeModels(pipe, { options: quantizeConfig, signal });
    if (!flags.quiet && !flags.json) console.log(lines.join('\n'));
  }
  const loaded = performance.now();
  const file = outputFile(flags, pipe.traits);
  const options: GenerateOptions = {
    ...subject(prompt, pipe.traits),
    ...requestOptions(flags, pipe.traits),
    ...memory.request,
    signal,
  };
  let firstStep = 0;
  const show = display(flags);
  const result = await pipe.generate({
    ...options,
    onStep: (event) => {
      if (event.step === 1) firstStep = sinceStart();
      return show(event);
    },
  });

  const metadata = {
    prompt,
    negativePrompt: options.negativePrompt?.toString(),
    seed: Number(result.seed),
    numInferenceSteps: result.timings.steps.length,
    guidanceScale: options[pipe.traits.guidance],
    model: path.basename(pipe.path),
    ...(lora === undefined ? {} : { lora: path.basename(lora), loraScale: flags.loraScale ?? 1 }),
  };
  const files = await savePictures(result, { ...flags, file, metadata });
  const total = performance.now() - begin;

  const { timings } = result;
  if (flags.json) {
    const { steps, ...rest } = timings;
    console.log(
      JSON.stringify(
        {
          files,
          ...metadata,
          backend: pipe.programs.backend.name,
          warnings: result.warnings,
          timings: { load: loaded - begin, ...rest, total, steps },
          process: { firstStep, total: sinceStart(), peakMemory: process.resourceUsage().maxRSS * 1024 },
        },
        null,
        2,
      ),
    );
  } else if (!flags.quiet) {
    const perStep = timings.denoise / timings.steps.length;
    console.log(
      `${files.join(', ')}  seed ${result.seed}  ${milliseconds(total)} ` +
        `(${backend === 'auto' ? `${pipe.programs.backend.name}: ` : ''}load ${milliseconds(loaded - begin)}, ${timings.steps.length} steps × ${milliseconds(perStep)}, decode ${milliseconds(timings.decode)})`,
    );
  }
  if (flags.summary && !flags.json) {
    summary(result);
    for (const line of summarizeOffload({ ...pipe.models, ...pipe.transformers })) console.log(line);
  }
  await pipe.dispose();
  await pipe.programs.backend.dispose();
}

/** Milliseconds since the command was started: that of the supervisor, where there is one. */
function sinceStart(): number {
  return performance.timeOrigin + performance.now() - Number(process.env['DEJA_DIT_STARTED'] ?? performance.timeOrigin);
}

/** What the flags and the config file ask for. */
async function settings(flags: GenerateFlags): Promise<EnableCacheOptions> {
  const options = (await cacheOptions(flags)) ?? {};
  const parallelismConfig = parallelOptions(flags);
  const { quantizeType } = flags;
  const twice = (flag: string) =>
    new DejaDitError('INVALID_ARGUMENT', 'is in the config file too: keep one of the two', { path: flag });
  if (quantizeType !== undefined && options.quantizeConfig) throw twice('--quantize-type');
  if (flags.parallel !== undefined && options.parallelismConfig) throw twice('--parallel');
  return {
    ...options,
    // Without a cache that is meant.
    ...(parallelismConfig
      ? { cacheConfig: null, ...options, parallelismConfig: options.parallelismConfig ?? parallelismConfig }
      : {}),
    ...(quantizeType === undefined ? {} : { quantizeConfig: { quantType: quantizeType } }),
  };
}

/** @throws DejaDitError INVALID_ARGUMENT for flags without `--lora-path` */
function loraFile({ loraPath, loraName, loraScale }: GenerateFlags): string | undefined {
  if (loraPath !== undefined) return path.join(loraPath, loraName ?? '');
  const idle = loraName !== undefined ? 'name' : loraScale !== undefined ? 'scale' : undefined;
  if (idle === undefined) return undefined;
  throw new DejaDitError('INVALID_ARGUMENT', `--lora-${idle} has no effect without --lora-path`);
}

/** @returns what became of the layers, in lines */
async function quantizeModels(
  pipe: Pipeline,
  { options, signal }: { options: QuantizeOptions; signal: AbortSignal },
): Promise<string[]> {
  const [{ quantize }, { summarizeReport }, { layerProgress }] = await Promise.all([
    import('../../quantize/quantize.ts'),
    import('../../quantize/report.ts'),
    import('../output/layer-progress.ts'),
  ]);
  const progress = layerProgress();
  const report = await quantize(pipe, options, { signal, onProgress: progress.update }).finally(progress.clear);
  return summarizeReport(report);
}

function display({ quiet, preview }: GenerateFlags): (event: StepEvent) => Promise<void> {
  let bar: ProgressBar | undefined;
  return async (event) => {
    if (quiet) return;
    // The clock starts where the first step begins, which is over by now.
    bar ??= new ProgressBar('generating', event.steps, { start: performance.now() - event.time });
    if (preview && redraws(process.stderr) && !process.env['NO_COLOR']) {
      const [image] = await event.preview();
      const picture = await renderToTerminal(image!, { columns: 32 });
      const lines = picture.split('\n').length;
      bar.clear();
      process.stderr.write(`${event.step === 1 ? '' : `\x1b[${lines}A`}${picture}\n`);
    }
    bar.update(event.step, event.action === 'reuse' ? 'cached' : '');
    if (event.step === event.steps) bar.clear();
    // Progress is only seen, and Ctrl-C only heard, when the event loop turns between two steps.
    await new Promise((resolve) => setImmediate(resolve));
  };
}

/** What to draw, as the pipeline wants to be told: a text, or classes by number or name, separated by commas. */
function subject(prompt: string, { subject }: PipelineTraits): GenerateOptions {
  if (subject === 'prompt') return { prompt };
  const labels = prompt.split(',').map((label) => label.trim());
  return { classLabels: labels.map((label) => (/^\d+$/.test(label) ? Number(label) : label)) };
}
