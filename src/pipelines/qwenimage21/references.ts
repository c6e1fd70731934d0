/** Pictures that Qwen-Image 2.1 is given: seen over white by the language model that reads the prompt, and with their transparency as tokens. */
import { DejaDitError } from '../../errors/errors.ts';
import { onWhite } from '../../images/alpha.ts';
import { Image } from '../../images/image.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import { join } from '../../tensor/slices.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { ofArea, picturePlace } from '../qwenimage/edit-plan.ts';
import { packTokens } from '../request/packing.ts';
import { type PatchedPictures, patchPictures } from '../request/picture-processor.ts';
import { encodePictures, loadImages } from '../request/start-images.ts';
import type { VisionEncoder } from '../request/vision-encoder.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { conversation, instructionTokens } from './conversation.ts';

export interface References {
  /** The one whose ratio is that of what is drawn, unless the request says another. */
  last: Image;
  /** What stands before the prompt, with a place for every picture. */
  places: string;
  /** As the language model sees them. */
  seen: PatchedPictures;
  /** For the prompt's slots, from the first behind the instruction to the last of a picture: 1 if it is of a picture, else 0. */
  slots: readonly number[];
  /** Frames, rows and columns of their tokens. */
  shapes: readonly (readonly [number, number, number])[];
  /** Their tokens as the transformer sees them, one picture behind the other: [1, tokens, C]. */
  encode(): Promise<Tensor>;
}

/**
 * The pictures of a request, each brought to the area of what is drawn.
 * @throws DejaDitError if the prompt is embedded already, since embeddings do not say where pictures are in them, or if the language model would
 * see pictures of that area at another size
 */
export async function readReferences(
  { textEncoder, vae }: { textEncoder: VisionEncoder; vae: Autoencoder },
  settings: GenerateOptions & { outputResolution: number },
): Promise<References | undefined> {
  const { image, outputResolution, signal } = settings;
  if (image === undefined) return undefined;
  for (const option of ['promptEmbeds', 'negativePromptEmbeds'] as const) {
    if (settings[option] === undefined) continue;
    const message = 'does not go with image, which is read with the text; give the text';
    throw new DejaDitError('INVALID_ARGUMENT', message, { path: option });
  }
  const images = await loadImages(image);
  const sized = await Promise.all(images.map((one) => ofArea(one, outputResolution ** 2, { premultiplied: true })));
  const places = images.map((_, i) => `<image${i + 1}>${picturePlace}`).join(' ');
  const overWhite = sized.map((one) => new Image(onWhite(one)));
  const seen = await patchPictures(overWhite, textEncoder.processor);
  checkSlots(overWhite, { seen, textEncoder, vae });
  const { types } = textEncoder.tokenizeWithPictures(conversation(places), seen);
  return {
    last: images.at(-1)!,
    places,
    seen,
    slots: types.slice(await instructionTokens(textEncoder), types.lastIndexOf(1) + 1),
    shapes: sized.map(({ width, height }) => [1, height / vae.spatialScale, width / vae.spatialScale]),
    async encode() {
      const tokens: Tensor[] = [];
      for (const one of sized) {
        const encoded = await encodePictures(one.toTensor({ alpha: true }), { vae, batch: 1, signal });
        tokens.push(packTokens(encoded.reshape([1, -1, encoded.dim(-2), encoded.dim(-1)])));
      }
      return join(tokens, 1);
    },
  };
}

/** The language model's tokens of a picture are its slots, each of 2×2 of the transformer's tokens. */
function checkSlots(
  pictures: readonly Image[],
  { seen, textEncoder, vae }: { seen: PatchedPictures; textEncoder: VisionEncoder; vae: Autoencoder },
): void {
  const { minPixels, maxPixels } = textEncoder.processor;
  for (const [i, { width, height }] of pictures.entries()) {
    const slots = (width * height) / (2 * vae.spatialScale) ** 2;
    if (seen.tokens[i] === slots) continue;
    const message = `pictures of ${width} x ${height} pixels would have ${slots} slots, but their processor makes ${seen.tokens[i]} tokens of them; it takes ${minPixels} to ${maxPixels} pixels`;
    throw new DejaDitError('INVALID_ARGUMENT', message, { path: 'outputResolution' });
  }
}
