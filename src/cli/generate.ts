/** `deja-dit generate`: text to image or video files, with a progress bar, previews and machine-readable timings. */
import path from 'node:path';
import { enableCache } from '../cache/enable-cache.ts';
import { summary } from '../cache/summary.ts';
import { Image } from '../images/image.ts';
import { renderToTerminal } from '../images/terminal.ts';
import { DiffusionPipeline } from '../pipelines/diffusion-pipeline.ts';
import type { GenerateOptions, StepEvent } from '../pipelines/options.ts';
import type { PipelineTraits } from '../pipelines/pipeline.ts';
import type { BackendName } from '../runtime/create-backend.ts';
import type { CacheFlags } from './cache-flags.ts';
import { cacheOptions } from './cache-options.ts';
import { milliseconds } from './format.ts';
import { abortOnInterrupt } from './interrupt.ts';
import { modelPath } from './model-path.ts';
import { ProgressBar } from './progress.ts';
import { checkOut, type OutputFlags, outputFile, savePictures } from './save-pictures.ts';

export interface GenerateFlags extends CacheFlags, OutputFlags {
  model?: string;
  seed?: number;
  steps?: number;
  size?: { width: number; height: number };
  guidance?: number;
  guidance2?: number;
  negative?: string;
  numImages?: number;
  numFrames?: number;
  image?: string;
  strength?: number;
  quantizeType?: string;
  preview?: boolean;
  json?: boolean;
  quiet?: boolean;
  backend: BackendName;
  threads?: number;
}

export async function generate(prompt: string, flags: GenerateFlags): Promise<void> {
  const begin = performance.now();
  checkOut(flags);
  const signal = abortOnInterrupt();
  const { backend, threads } = flags;
  const pipe = await DiffusionPipeline.fromPretrained(modelPath(flags.model), { backend, threads, signal });
  if (flags.quantizeType !== undefined) {
    const { quantize } = await import('../quantize/quantize.ts');
    const { summarizeReport } = await import('../quantize/report.ts');
    const report = await quantize(pipe, { quantType: flags.quantizeType }, { signal });
    if (!flags.quiet && !flags.json) console.log(summarizeReport(report).join('\n'));
  }
  const loaded = performance.now();
  const cache = cacheOptions(flags);
  if (cache) enableCache(pipe, cache);
  const file = outputFile(flags, pipe.traits);
  const options: GenerateOptions = {
    ...subject(prompt, pipe.traits),
    negativePrompt: flags.negative,
    numInferenceSteps: flags.steps,
    ...flags.size,
    [pipe.traits.guidance]: flags.guidance,
    guidanceScale2: flags.guidance2,
    numImages: flags.numImages,
    numFrames: flags.numFrames,
    seed: flags.seed,
    image: flags.image === undefined ? undefined : await Image.load(flags.image),
    strength: flags.strength,
    signal,
  };
  let firstStep = 0;
  const show = display(flags);
  const result = await pipe.generate({
    ...options,
    onStep: (event) => {
      // performance.now() counts from the start of the process.
      if (event.step === 1) firstStep = performance.now();
      return show(event);
    },
  });

  const metadata = {
    prompt,
    negativePrompt: flags.negative,
    seed: Number(result.seed),
    numInferenceSteps: result.timings.steps.length,
    guidanceScale: flags.guidance,
    model: path.basename(pipe.path),
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
          timings: { load: loaded - begin, ...rest, total, steps },
          process: { firstStep, total: performance.now(), peakMemory: process.resourceUsage().maxRSS * 1024 },
        },
        null,
        2,
      ),
    );
  } else if (!flags.quiet) {
    const perStep = timings.denoise / timings.steps.length;
    console.log(
      `${files.join(', ')}  seed ${result.seed}  ${milliseconds(total)} ` +
        `(load ${milliseconds(loaded - begin)}, ${timings.steps.length} steps × ${milliseconds(perStep)}, decode ${milliseconds(timings.decode)})`,
    );
  }
  if (flags.summary && !flags.json) summary(pipe);
  await pipe.dispose();
  await pipe.programs.backend.dispose();
}

function display({ quiet, preview }: GenerateFlags): (event: StepEvent) => Promise<void> {
  let bar: ProgressBar | undefined;
  return async (event) => {
    if (quiet) return;
    bar ??= new ProgressBar('generating', event.steps);
    if (preview && process.stderr.isTTY) {
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
