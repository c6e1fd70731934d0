/** The work of kind `generate`: one call of a pipeline, with its pictures encoded here, where no request waits for it. */
import path from 'node:path';
import { DejaDitError } from '../../errors/errors.ts';
import { Image } from '../../images/image.ts';
import type { ImageMetadata } from '../../images/metadata.ts';
import type { Pipeline } from '../../pipelines/pipeline.ts';
import type { GenerateOptions, GenerateResult, StepEvent } from '../../pipelines/schema/options.ts';
import {
  type GenerateInput,
  type GenerateReport,
  type JobFile,
  type OutputOptions,
  type PictureOption,
  type PlainOptions,
  pictureOptions,
  type WorkResult,
} from '../jobs/job.ts';
import { encodeVideo } from './encode-video.ts';
import { previewSteps, smallPicture } from './previews.ts';
import type { StepBatcher } from './step-batcher.ts';
import type { WorkContext } from './works.ts';

export async function generate(input: GenerateInput, context: WorkContext): Promise<WorkResult<'generate'>> {
  const { options, output = {}, previews } = input;
  const { signal, emit, maxPixels } = context;
  const { pipe, loras } = await context.lease();
  let reusedSteps = 0;
  let shown = 0;
  const onStep = async (event: StepEvent): Promise<void> => {
    const { step, steps, action, branches, time } = event;
    if (action === 'reuse') reusedSteps++;
    emit({ type: 'step', step, steps, action, branches, time });
    if (!previewSteps(previews, steps).has(step)) return;
    const [picture] = await event.preview();
    if (picture) emit({ type: 'preview', step, index: shown++, file: await smallPicture(picture, previews!) });
  };
  const given: GenerateOptions = {
    ...subjectOf(options, pipe),
    ...(await pictures(options, maxPixels)),
    signal,
    onStep,
  };
  const done = await loras.use(Object.keys(options.loras ?? {}), signal);
  const result = await inTurns(pipe, given, context.steps).finally(done);
  const metadata = metadataOf(pipe, options, result, output.metadata);
  const warnings = [...result.warnings];
  const files = [
    ...(await Promise.all(
      result.images.map((picture, i) => encodeImage(picture, output, ofPicture(metadata, result, i))),
    )),
    ...(await Promise.all(result.videos.map((video) => encodeVideo(video, { output, metadata, warnings })))),
  ];
  const report: GenerateReport = {
    seed: plainSeed(result.seed),
    timings: result.timings,
    steps: result.timings.steps.length,
    reusedSteps,
    summary: result.summary,
    warnings,
  };
  return { files, report };
}

/** What `pipe.generate` does, with the steps of other requests in between or along. */
async function inTurns(pipe: Pipeline, options: GenerateOptions, steps: StepBatcher): Promise<GenerateResult> {
  const request = await pipe.begin(options);
  try {
    while (!request.done) await steps.step(request);
    return await request.finish();
  } finally {
    request.end();
  }
}

/** To a model that draws classes a text is their numbers or names, by commas. */
function subjectOf(options: PlainOptions, { traits }: Pipeline): GenerateOptions {
  const others = Object.fromEntries(Object.entries(options).filter(([name]) => name !== 'prompt' && !isPicture(name)));
  const { prompt } = options;
  if (traits.subject === 'prompt' || typeof prompt !== 'string' || others['classLabels'] !== undefined)
    return prompt === undefined ? others : { ...others, prompt };
  const labels = prompt.split(',').map((label) => label.trim());
  return { ...others, classLabels: labels.map((label) => (/^\d+$/.test(label) ? Number(label) : label)) };
}

const isPicture = (name: string): boolean => (pictureOptions as readonly string[]).includes(name);

/** Decoded here, and not by the pipeline, so that the server's limit holds. */
async function pictures(options: PlainOptions, maxPixels: number): Promise<Partial<Record<PictureOption, Image[]>>> {
  const decode = async (path: PictureOption, given: unknown): Promise<Image[]> =>
    Promise.all(
      [given].flat().map((bytes) => {
        if (bytes instanceof Uint8Array) return Image.load(bytes, { maxPixels });
        // A path would be a file of the server's.
        throw new DejaDitError('INVALID_ARGUMENT', 'expected the bytes of a picture', { path });
      }),
    );
  const given = pictureOptions.filter((name) => options[name] !== undefined);
  return Object.fromEntries(await Promise.all(given.map(async (name) => [name, await decode(name, options[name])])));
}

async function encodeImage(
  picture: Image,
  { format = 'png', quality }: OutputOptions,
  metadata: ImageMetadata,
): Promise<JobFile> {
  const { width, height } = picture;
  const settings = { metadata, ...(quality === undefined || format === 'png' ? {} : { quality }) };
  return { type: `image/${format}`, bytes: await picture.encode(format, settings), width, height };
}

/** What the file says of how it was made, as `deja-dit generate` writes it. */
function metadataOf(
  pipe: Pipeline,
  options: PlainOptions,
  { seed, timings }: GenerateResult,
  more: OutputOptions['metadata'],
): ImageMetadata {
  const { prompt, negativePrompt, classLabels, strength } = options;
  const text = (value: unknown) => (value === undefined || value === null ? undefined : String([value].flat()[0]));
  const [first] = [seed].flat();
  const entries = {
    prompt: text(prompt ?? classLabels),
    negativePrompt: text(negativePrompt),
    numInferenceSteps: timings.steps.length,
    guidanceScale: options[pipe.traits.guidance] ?? pipe.options.get(pipe.traits.guidance)?.default,
    seed: Number(first),
    model: path.basename(pipe.path),
    strength,
    ...more,
  };
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined));
}

/** Of several pictures each may have a seed of its own. */
function ofPicture(metadata: ImageMetadata, { seed }: GenerateResult, index: number): ImageMetadata {
  return Array.isArray(seed) ? { ...metadata, seed: Number(seed[index]) } : metadata;
}

function plainSeed(seed: GenerateResult['seed']): GenerateReport['seed'] {
  const plain = (value: number | bigint) => (typeof value === 'bigint' ? value.toString() : value);
  return Array.isArray(seed) ? seed.map(plain) : plain(seed as number | bigint);
}
