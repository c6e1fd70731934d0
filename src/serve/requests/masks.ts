/** Masks of inpainting in the forms that protocols have for them, as the one that pipelines take: white is drawn anew. */
import { Image } from '../../images/image.ts';
import type { Core } from '../core.ts';
import { Problem } from '../http/problem.ts';

export interface MaskForm {
  /** The field, for errors. */
  param: string;
  /** Largest picture that is decoded. */
  maxPixels: number;
}

/** @throws Problem if the model is known to draw pictures as a whole */
export function requireInpainting(core: Core, model: string, param: string): void {
  const now = core.models.state(model);
  if (now?.state !== 'loaded' || now.info.schema.properties.maskImage) return;
  throw new Problem(400, `${now.info.className} draws pictures as a whole; leave it out`, { param });
}

/** OpenAI's: what is transparent is drawn anew. @throws Problem 400 for a picture without transparency */
export async function maskFromAlpha(
  bytes: Uint8Array<ArrayBuffer>,
  { param, maxPixels }: MaskForm,
): Promise<Uint8Array> {
  const image = await decoded(bytes, { param, maxPixels });
  if (image.channels !== 4)
    throw new Problem(400, 'has no transparency, which says what is drawn anew (mask_image: what is white)', { param });
  return drawn(image, (at) => 255 - image.data[at + 3]!);
}

/** What is black is drawn anew, and white stays. */
export async function invertedMask(bytes: Uint8Array<ArrayBuffer>, form: MaskForm): Promise<Uint8Array> {
  const image = await decoded(bytes, form);
  return drawn(image, (at, channel) => 255 - image.data[at + channel]!);
}

async function decoded(bytes: Uint8Array<ArrayBuffer>, { param, maxPixels }: MaskForm): Promise<Image> {
  try {
    return await Image.load(bytes, { maxPixels });
  } catch (cause) {
    throw new Problem(400, (cause as Error).message, { param, cause });
  }
}

function drawn(
  { width, height, channels }: Image,
  level: (at: number, channel: number) => number,
): Promise<Uint8Array> {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => level(Math.floor(i / 3) * channels, i % 3));
  return new Image({ width, height, channels: 3, data }).encode('png');
}
