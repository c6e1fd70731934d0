/** Two pictures, pixel by pixel. What is counted is counted by the library's own functions. */
import type { Pixels } from '../../src/images/pixels.ts';

/** The pixels of a file, as they are stored. */
export async function pixelsOf(blob: Blob): Promise<Pixels> {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  return { width, height, channels: 4, data: new Uint8Array(data.buffer) };
}

export function largestDifference(a: Pixels, b: Pixels): number {
  let most = 0;
  for (let i = 0; i < a.data.length; i++) most = Math.max(most, Math.abs(a.data[i]! - b.data[i]!));
  return most;
}

/** Where the two differ, `gain` times as bright. */
export function differencePicture(a: Pixels, b: Pixels, gain: number): ImageData {
  const picture = new ImageData(a.width, a.height);
  for (let i = 0; i < a.data.length; i++)
    picture.data[i] = i % 4 === 3 ? 255 : gain * Math.abs(a.data[i]! - b.data[i]!);
  return picture;
}
