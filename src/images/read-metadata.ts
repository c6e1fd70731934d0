/** Reads what made an image out of its file, whichever format and program it is from. */
import { parseJson } from '../files/json.ts';
import { readExif } from './exif.ts';
import { isReadable } from './files.ts';
import { type ImageMetadata, parseParameters } from './metadata.ts';
import { isPng, pictureChunks } from './png-chunks.ts';
import { readPngTexts } from './png-texts.ts';
import { readImageFile } from './read-file.ts';
import { loadSharp } from './sharp.ts';

/**
 * What made an image, read from a file of ours or of any tool that follows the Automatic1111 convention.
 *
 * @param source a path, or the bytes of a PNG, JPEG, WebP or AVIF file
 * @returns undefined if the file says nothing about it
 * @example
 * const about = await readMetadata('apple.png');
 * console.log(about?.prompt, about?.seed);
 */
export async function readMetadata(source: string | Uint8Array): Promise<ImageMetadata | undefined> {
  const bytes = typeof source === 'string' ? await readImageFile(source) : source;
  const texts = isPng(bytes) ? readPngTexts(bytes, ['deja-dit', 'parameters']) : undefined;
  const exif = readExif((await exifOf(bytes)) ?? new Uint8Array());
  const json = texts?.get('deja-dit') ?? exif.makerNote;
  const parameters = texts?.get('parameters') ?? exif.userComment;
  return metadataOf(json) ?? (parameters === undefined ? undefined : parseParameters(parameters));
}

async function exifOf(bytes: Uint8Array): Promise<Uint8Array | undefined> {
  if (!isReadable(bytes)) return undefined;
  const sharp = await loadSharp();
  try {
    return (await sharp(isPng(bytes) ? pictureChunks(bytes) : bytes).metadata()).exif;
  } catch {
    return undefined;
  }
}

function metadataOf(text: string | undefined): ImageMetadata | undefined {
  if (text === undefined) return undefined;
  try {
    return parseJson(text, { path: 'image' });
  } catch {
    return undefined;
  }
}
