/** Videos as bytes: they are written by tools that want a file, so into a folder that is gone afterwards. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DejaDitError } from '../../errors/errors.ts';
import type { ImageMetadata } from '../../images/metadata.ts';
import type { Video } from '../../images/video.ts';
import type { JobFile, OutputOptions } from '../jobs/job.ts';

export interface EncodeVideoOptions {
  output: OutputOptions;
  metadata: ImageMetadata;
  /** Told if the format is not what players expect. */
  warnings: string[];
}

/** @throws DejaDitError UNSUPPORTED if MP4 is asked for and there is no ffmpeg */
export async function encodeVideo(video: Video, { output, metadata, warnings }: EncodeVideoOptions): Promise<JobFile> {
  const folder = await mkdtemp(path.join(tmpdir(), 'deja-dit-video-'));
  const { width, height, frames } = video;
  const fps = output.fps ?? video.fps;
  const save = async (format: 'mp4' | 'webp'): Promise<JobFile> => {
    const [file] = await video.save(path.join(folder, `video.${format}`), { fps, metadata });
    const bytes = new Uint8Array(await readFile(file!));
    const type = format === 'mp4' ? 'video/mp4' : 'image/webp';
    return { type, bytes, width, height, frames: frames.length, fps };
  };
  try {
    if (output.video === 'webp') return await save('webp');
    try {
      return await save('mp4');
    } catch (cause) {
      if (!(cause instanceof DejaDitError && cause.code === 'UNSUPPORTED')) throw cause;
      const missing = 'MP4 needs the program ffmpeg, which the server does not have';
      if (output.video === 'mp4')
        throw new DejaDitError('UNSUPPORTED', `${missing}; ask for webp`, { path: 'output.video', cause });
      warnings.push(`${missing}: the video is an animated WebP`);
      return await save('webp');
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}
