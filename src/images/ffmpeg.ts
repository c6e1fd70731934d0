/** The system's ffmpeg, which makes the one video format that plays everywhere (H.264 in MP4). It is not a dependency: asked for when needed. */
import { spawn } from 'node:child_process';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { DejaDitError } from '../errors/errors.ts';
import { oneLine } from './files.ts';
import type { Pixels } from './pixels.ts';

export interface Mp4Options {
  /** Frames per second. */
  fps: number;
  /** Text for the file's comment field. */
  comment?: string | undefined;
}

/**
 * Writes frames, all of one size, to an MP4 file. Odd sizes get a row or column of black: H.264 halves the colours' resolution.
 * @throws DejaDitError `UNSUPPORTED` without ffmpeg, `RUNTIME` with its words if it fails
 */
export async function encodeMp4(file: string, frames: readonly Pixels[], { fps, comment }: Mp4Options): Promise<void> {
  const { width, height, channels } = frames[0]!;
  const child = spawn(
    'ffmpeg',
    [
      ['-hide_banner', '-loglevel', 'error', '-nostdin', '-y'],
      ['-f', 'rawvideo', '-pixel_format', channels === 4 ? 'rgba' : 'rgb24', '-video_size', `${width}x${height}`],
      ['-framerate', String(fps), '-i', 'pipe:0'],
      // Colours as players take them to be; the tags say so too.
      ['-vf', 'pad=ceil(iw/2)*2:ceil(ih/2)*2,scale=out_color_matrix=bt709:out_range=tv'],
      ['-c:v', 'libx264', '-crf', '16', '-pix_fmt', 'yuv420p'],
      ['-colorspace', 'bt709', '-color_primaries', 'bt709', '-color_trc', 'bt709', '-color_range', 'tv'],
      ...(comment === undefined ? [] : [['-metadata', `comment=${comment}`]]),
      ['-movflags', '+faststart', '-f', 'mp4', file],
    ].flat(),
    { stdio: ['pipe', 'ignore', 'pipe'] },
  );
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-2000);
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  // If ffmpeg gives up early the pipe breaks; why is in its exit code and words.
  const fed = pipeline(Readable.from(frames.map(({ data }) => data)), child.stdin).catch(() => {});
  try {
    const code = await ended;
    await fed;
    if (code === 0) return;
    throw new DejaDitError('RUNTIME', `ffmpeg failed (${code}): ${oneLine(words)}`, { path: file });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw new DejaDitError(
      'UNSUPPORTED',
      'MP4 needs the program ffmpeg, which is not on the PATH; install it, or save as .webp (animated) or .png (numbered frames)',
      { path: file, cause },
    );
  }
}
