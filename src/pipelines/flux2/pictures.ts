/** Pictures to look at, at the sizes that FLUX.2 and FLUX.3 were trained with. */
import { DejaDitError } from '../../errors/errors.ts';
import type { Image } from '../../images/image.ts';

/** Pictures of more pixels are brought to as many. */
const largestPicture = 1024 ** 2;

/**
 * A picture of at most a megapixel, its margins cut to whole tokens.
 * @param multiple pixels of a token along an edge
 * @throws DejaDitError if it is smaller than a token
 */
export async function croppedPicture(image: Image, multiple: number): Promise<Image> {
  const scale = Math.min(1, Math.sqrt(largestPicture / (image.width * image.height)));
  const sized =
    scale < 1 ? await image.resize(Math.trunc(image.width * scale), Math.trunc(image.height * scale)) : image;
  const whole = (edge: number) => Math.floor(edge / multiple) * multiple;
  const [width, height] = [whole(sized.width), whole(sized.height)];
  if (width === 0 || height === 0) {
    const message = `is ${sized.width} x ${sized.height} pixels, expected at least ${multiple} x ${multiple}`;
    throw new DejaDitError('INVALID_ARGUMENT', message, { path: 'image' });
  }
  const [left, top] = [Math.floor((sized.width - width) / 2), Math.floor((sized.height - height) / 2)];
  return sized.crop({ left, top, width, height });
}
