/** A page has neither a disk nor ffmpeg. */
import { DejaDitError } from '../errors/errors.ts';

/** @throws DejaDitError `UNSUPPORTED` */
export async function saveVideo(
  _video: unknown,
  { file }: { file: string; fps: number; metadata?: unknown },
): Promise<string[]> {
  throw new DejaDitError('UNSUPPORTED', 'a page cannot write files: draw the frames, or encode() each', { path: file });
}
