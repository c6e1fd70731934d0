/** What a request made, as files: images on their own or as a grid, videos. */
import path from 'node:path';
import { DejaDitError } from '../../errors/errors.ts';
import { checkWritable } from '../../files/replace-file.ts';
import { imageGrid } from '../../images/grid.ts';
import type { ImageMetadata } from '../../images/metadata.ts';
import type { PipelineTraits } from '../../pipelines/pipeline.ts';
import type { GenerateResult } from '../../pipelines/schema/options.ts';

export interface OutputFlags {
  out?: string;
  grid?: boolean;
  fps?: number;
}

const imageEndings = ['.png', '.jpg', '.jpeg', '.webp'];

/**
 * Refuses a file name that nothing can be written under, before anything is loaded.
 * @throws DejaDitError INVALID_ARGUMENT, RUNTIME
 */
export async function checkOut({ out }: OutputFlags): Promise<void> {
  const ending = out === undefined ? '.png' : path.extname(out).toLowerCase();
  if (ending === '.mp4' || imageEndings.includes(ending)) return checkWritable(out ?? 'out.png');
  throw new DejaDitError('INVALID_ARGUMENT', `--out must end in .png, .jpg, .webp, or for videos .mp4, got '${out}'`);
}

/** Refuses flags that do not fit what the pipeline makes, before it is made. @returns the file to write */
export function outputFile({ out, grid, fps }: OutputFlags, { output }: PipelineTraits): string {
  const refuse = (message: string) => new DejaDitError('INVALID_ARGUMENT', message);
  if (output === 'videos') {
    if (grid) throw refuse('--grid is for images, this model makes videos');
    return out ?? 'out.webp';
  }
  if (fps !== undefined) throw refuse('--fps is for videos, this model makes images');
  if (out && path.extname(out).toLowerCase() === '.mp4')
    throw refuse(`--out must end in .png, .jpg or .webp, this model makes images`);
  return out ?? 'out.png';
}

/** @returns the files written */
export async function savePictures(
  { images, videos }: GenerateResult,
  { file, metadata, grid, fps }: OutputFlags & { file: string; metadata: ImageMetadata },
): Promise<string[]> {
  const pictures = grid ? [imageGrid(images)] : images;
  const count = pictures.length + videos.length;
  const fileOf = (index: number) => (count === 1 ? file : numbered(file, index));
  for (const [i, picture] of pictures.entries()) await picture.save(fileOf(i), { metadata });
  const ofVideos: string[] = [];
  for (const [i, video] of videos.entries()) ofVideos.push(...(await video.save(fileOf(i), { fps, metadata })));
  return [...pictures.map((_, i) => fileOf(i)), ...ofVideos];
}

function numbered(file: string, index: number): string {
  const { dir, name, ext } = path.parse(file);
  return path.join(dir, `${name}-${index}${ext}`);
}
