/** Videos as files: MP4 with the system's ffmpeg, animated WebP, or a picture per frame. */
import path from 'node:path';
import { writesOutputs } from '../files/output-rank.ts';
import { replaceFile, writeFileAtomically } from '../files/replace-file.ts';
import { encodeAnimatedWebp } from './animated-webp.ts';
import { exifBlock } from './exif.ts';
import { encodeMp4 } from './ffmpeg.ts';
import type { Image } from './image.ts';
import { asciiJson, type ImageMetadata, parametersText } from './metadata.ts';
import type { Video } from './video.ts';

export interface VideoFile {
  /** Its extension says how. */
  file: string;
  fps: number;
  metadata?: ImageMetadata | undefined;
}

/** @returns the files written */
export async function saveVideo(video: Video, { file, fps, metadata }: VideoFile): Promise<string[]> {
  const { frames, width, height } = video;
  const { dir, name, ext } = path.parse(file);
  const about = metadata && { ...metadata, width, height };
  switch (ext.toLowerCase()) {
    case '.mp4': {
      if (!writesOutputs()) return [file];
      await replaceFile(file, (unfinished) =>
        encodeMp4(unfinished, frames, { fps, comment: about && parametersText(about) }),
      );
      return [file];
    }
    case '.webp': {
      const [first] = frames as [Image];
      if (frames.every(({ data }) => Buffer.compare(data, first.data) === 0)) {
        await first.save(file, metadata ? { metadata } : {});
        return [file];
      }
      if (!writesOutputs()) return [file];
      const exif = about && exifBlock({ userComment: parametersText(about), makerNote: asciiJson(about) });
      await writeFileAtomically(file, await encodeAnimatedWebp(frames, { fps, exif }));
      return [file];
    }
    default: {
      const files = frames.map((_, i) => path.join(dir, `${name}-${String(i).padStart(4, '0')}${ext}`));
      for (const [i, frame] of frames.entries()) await frame.save(files[i]!, metadata ? { metadata } : {});
      return files;
    }
  }
}
