/** Options of `generate` from JSON: under our names whatever the spelling, with the bytes of pictures. What values they have the pipeline checks. */
import * as z from 'zod';
import { alsoCalled, underOurNames } from '../../errors/options.ts';
import { catalogue, elsewhere, optionNames } from '../../pipelines/schema/catalogue.ts';
import type { OptionName } from '../../pipelines/schema/options.ts';
import type { Core } from '../core.ts';
import type { Pictures } from '../http/pictures.ts';
import { Problem } from '../http/problem.ts';
import { type PictureOption, type PlainOptions, pictureOptions } from '../jobs/job.ts';
import { cacheSettings } from './cache-settings.ts';
import { loraStrengths } from './lora-strengths.ts';

/** What no JSON holds, and what is the server's own business. */
const notPlain = new Set<OptionName>([
  'promptEmbeds',
  'pooledPromptEmbeds',
  'promptAttentionMask',
  'promptEmbedsMask',
  'negativePromptEmbeds',
  'negativePooledPromptEmbeds',
  'negativePromptAttentionMask',
  'negativePromptEmbedsMask',
  'promptEmbedsQwen',
  'promptEmbedsClip',
  'negativePromptEmbedsQwen',
  'negativePromptEmbedsClip',
  'promptEmbeds2',
  'promptEmbedsMask2',
  'negativePromptEmbeds2',
  'negativePromptEmbedsMask2',
  'latents',
  'outputType',
  'maxMemory',
  'onStep',
  'signal',
]);

export const plainNames: readonly OptionName[] = optionNames.filter((name) => !notPlain.has(name));

const shape = Object.fromEntries(
  plainNames.map((name) => [name, alsoCalled(z.unknown(), ...(catalogue[name].aliases ?? []))]),
);

/**
 * @param given as clients write it; null is as if it were not given
 * @throws DejaDitError INVALID_ARGUMENT for an unknown option; Problem for a picture that cannot be taken
 */
export async function plainOptions(
  given: object,
  { pictures, loras }: Pick<Core, 'pictures' | 'loras'>,
): Promise<PlainOptions> {
  const named = underOurNames(shape, given, { of: 'this server', elsewhere });
  const options = Object.fromEntries(
    Object.entries(named).filter(([, value]) => value !== null && value !== undefined),
  );
  if ('cache' in options) options['cache'] = cacheSettings(options['cache']);
  const strengths = 'loras' in options ? loraStrengths(options['loras'], loras) : loras.overriding;
  if (strengths) options['loras'] = strengths;
  for (const name of pictureOptions)
    if (name in options) options[name] = await images(options[name], { path: name, pictures });
  return options;
}

async function images(
  value: unknown,
  { path, pictures }: { path: PictureOption; pictures: Pictures },
): Promise<Uint8Array | Uint8Array[]> {
  const list = [value].flat();
  const bytes = await Promise.all(
    list.map((one, i) => {
      const param = Array.isArray(value) ? `${path}[${i}]` : path;
      if (one instanceof Uint8Array) return one;
      if (typeof one === 'string') return pictures.fromText(one, param);
      throw new Problem(400, 'expected a picture in base64, or a data: URL', { param });
    }),
  );
  return Array.isArray(value) ? bytes : bytes[0]!;
}
