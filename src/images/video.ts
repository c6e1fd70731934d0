/** `Video`: frames in memory. The files they can become are `save-video.ts`. */
import { saveVideo } from '#images/save-video';
import { DejaDitError } from '../errors/errors.ts';
import { dims, floatTensor, type Tensor } from '../tensor/tensor.ts';
import { type Image, imagesFromTensor } from './image.ts';
import type { ImageMetadata } from './metadata.ts';

export interface SaveVideoOptions {
  /** Frames per second; default the video's own. */
  fps?: number | undefined;
  /** What made the video; written into the file. */
  metadata?: ImageMetadata;
}

/**
 * A video in memory: frames of one size, and how fast they are meant to be played.
 * @example
 * const { videos } = await pipe.generate({ prompt, numFrames: 33 });
 * const video: Video = videos[0];
 * await video.save('clip.mp4', { fps: 16 });
 */
export class Video {
  readonly frames: readonly Image[];
  /** Frames per second that the video is meant to be played at. */
  readonly fps: number;

  /** @throws DejaDitError if there is no frame, or frames differ in size */
  constructor(frames: readonly Image[], fps: number) {
    const [first] = frames;
    if (!first) throw new DejaDitError('INVALID_ARGUMENT', 'a video needs at least one frame');
    const odd = frames.findIndex(
      ({ width, height, channels }) => width !== first.width || height !== first.height || channels !== first.channels,
    );
    if (odd > 0) throw new DejaDitError('SHAPE_MISMATCH', `frame ${odd} differs from the first in size or channels`);
    this.frames = frames;
    this.fps = checkFps(fps);
  }

  get width(): number {
    return this.frames[0]!.width;
  }

  get height(): number {
    return this.frames[0]!.height;
  }

  /**
   * Writes `.mp4` (with the system's ffmpeg), an animated `.webp`, or for any other image format one file per frame,
   * numbered from 0: `out.png` becomes `out-0000.png`, …. Folders are created; a file appears complete or not at all.
   * @returns the files written
   */
  async save(file: string, { fps = this.fps, metadata }: SaveVideoOptions = {}): Promise<string[]> {
    checkFps(fps);
    return saveVideo(this, { file, fps, metadata });
  }
}

/** One video per entry of a [B, C, frames, H, W] float tensor from -1 to 1. Rounding and errors as in `Image.fromTensor`. */
export function videosFromTensor(tensor: Tensor, { fps }: { fps: number }): Video[] {
  const [count, channels, frames, height, width] = dims(tensor, 5);
  const plane = height * width;
  const source = tensor.float().f32;
  return Array.from({ length: count }, (_, video) => {
    const data = new Float32Array(frames * channels * plane);
    for (let c = 0; c < channels; c++) {
      for (let t = 0; t < frames; t++) {
        const from = ((video * channels + c) * frames + t) * plane;
        data.set(source.subarray(from, from + plane), (t * channels + c) * plane);
      }
    }
    return new Video(imagesFromTensor(floatTensor(data, [frames, channels, height, width])), fps);
  });
}

function checkFps(fps: number): number {
  if (Number.isFinite(fps) && fps > 0 && fps <= 1000) return fps;
  throw new DejaDitError('INVALID_ARGUMENT', `expected frames per second up to 1000, got ${fps}`, { path: 'fps' });
}
