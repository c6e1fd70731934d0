/** Starting images as callers have them (pictures, files, bytes of files), and as pipelines take them. */
import { DejaDitError } from '../../errors/errors.ts';
import { oneLine } from '../../images/files.ts';
import { Image } from '../../images/image.ts';

/** A picture, the path or `file:` URL of one, or the bytes of a file. */
export type ImageSource = Image | string | URL | Uint8Array;

/**
 * One image for all pictures of a request, or several that take turns.
 * @throws DejaDitError if some pictures would be left without
 */
export function takingTurns(
  value: ImageSource | readonly ImageSource[] | undefined,
  batch: number,
): readonly ImageSource[] | undefined {
  if (value === undefined) return undefined;
  const list = [value].flat() as readonly ImageSource[];
  if (batch % list.length === 0) return list;
  throw new DejaDitError('INVALID_ARGUMENT', `${list.length} of them cannot take turns in ${batch} pictures`, {
    path: 'image',
  });
}

/** @throws DejaDitError naming the image that cannot be read */
export function loadStartImages(sources: readonly ImageSource[]): Promise<Image[]> {
  return Promise.all(
    sources.map(async (source, i) => {
      if (source instanceof Image) return source;
      try {
        return await Image.load(source);
      } catch (cause) {
        if (!(cause instanceof DejaDitError)) throw cause;
        const path = sources.length === 1 ? 'image' : `image[${i}]`;
        throw new DejaDitError(cause.code, oneLine(cause), { path, cause });
      }
    }),
  );
}
