/** From a request for images to a job. */
import { isSpellingOf } from '../../errors/options.ts';
import { catalogue } from '../../pipelines/schema/catalogue.ts';
import type { Core } from '../core.ts';
import { Problem } from '../http/problem.ts';
import type { JobRequest, OutputOptions } from '../jobs/job.ts';
import { maskFromAlpha, requireInpainting } from '../requests/masks.ts';
import { plainNames, plainOptions } from '../requests/plain-options.ts';
import { sglangCache } from '../sglang/cache-params.ts';
import { type ImageFields, whyIdle, withoutEffect } from './fields.ts';
import type { Mask } from './form.ts';

export interface ImageJob {
  request: JobRequest<'generate'>;
  /** What was asked for and has no effect, a line each. */
  warnings: string[];
}

/** Names under which OpenAI's own models are asked for. */
const openaiModels = /^(gpt-image|chatgpt-image|dall-e)/;

/** @throws Problem 404 for a model that is none of the server's */
export function modelOf(core: Core, model: string | null | undefined): string {
  if (!model || openaiModels.test(model)) return core.models.default;
  const found = core.models.find(model);
  if (found !== undefined) return found;
  const known = core.models.list().map(({ name }) => name);
  throw new Problem(404, `there is no model '${model}' here; known: ${known.join(', ')}`, {
    code: 'model_not_found',
    param: 'model',
  });
}

const isOption = (key: string) =>
  plainNames.some((name) => isSpellingOf(key, [name, ...(catalogue[name].aliases ?? [])]));

/**
 * @param images pictures to start from, already read
 * @throws Problem, DejaDitError naming the field that is wrong
 */
export async function imageJob(
  core: Core,
  fields: ImageFields,
  { images = [], mask }: { images?: readonly Uint8Array[] | undefined; mask?: Mask | undefined } = {},
): Promise<ImageJob> {
  const { model, n, size, response_format, output_format, output_compression, stream, partial_images, ...rest } =
    fields;
  const { cache, enable_cache_dit, cache_dit_params, lora, output_path, ...others } = rest;
  const name = modelOf(core, model);
  const warnings: string[] = [];
  const options: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(others)) {
    if (withoutEffect.has(name)) continue;
    const idle = whyIdle(name, value, isOption);
    if (idle !== undefined) warnings.push(idle);
    else if (isOption(name)) options[name] = value;
  }
  if (output_path && !core.outputs)
    warnings.push('output_path has no effect: the server was started without --output-dir');
  if (fields.background === 'transparent')
    throw new Problem(400, 'the models draw no transparency; leave it out', { param: 'background' });
  if (partial_images && !stream) warnings.push('partial_images has no effect without stream');
  const [, width, height] = /^(\d+)x(\d+)$/.exec(size ?? '') ?? [];
  if (width !== undefined) Object.assign(options, { width: Number(width), height: Number(height) });
  if (n) options['numImages'] = n;
  if (images.length > 0) options['image'] = images.length === 1 ? images[0] : images;
  if (mask) options['maskImage'] = await maskOf(core, name, mask);
  if (lora) options['loras'] = lora;
  const settings = sglangCache({ enable_cache_dit, cache_dit_params }) ?? cache;
  if (settings !== undefined && settings !== null) options['cache'] = settings;
  const format = output_format ?? 'png';
  const output: OutputOptions = { format };
  // 0 is the smallest file for OpenAI, and no quality for an encoder.
  if (typeof output_compression === 'number') {
    if (format === 'png') warnings.push('output_compression has no effect on png, which loses nothing');
    else output.quality = Math.max(1, output_compression);
  }
  return {
    request: {
      kind: 'generate',
      model: name,
      input: {
        options: await plainOptions(options, core),
        output,
        ...(stream && partial_images ? { previews: { count: partial_images, format } } : {}),
      },
    },
    warnings,
  };
}

async function maskOf(core: Core, model: string, { name, part }: Mask): Promise<Uint8Array> {
  requireInpainting(core, model, name);
  const bytes = await core.pictures.fromPart(part, name);
  return name === 'mask' ? maskFromAlpha(bytes, { param: name, maxPixels: core.settings.maxPixels }) : bytes;
}
