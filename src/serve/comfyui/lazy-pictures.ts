/** Pictures and masks that graphs make of those that were sent: their sizes are known, their pixels are made when they are asked for. */
import { Image } from '../../images/image.ts';
import type { LazyPicture } from './graph/values.ts';
import type { Upload } from './uploads.ts';

const file = async (image: Image) => image.encode('png');
const read = async (picture: LazyPicture) => Image.load(await picture.bytes());

export function sent({ bytes, width, height }: Upload): LazyPicture {
  return { width, height, bytes: async () => bytes };
}

export type MaskChannel = 'alpha' | 'red' | 'green' | 'blue';

/** White where a channel is bright; of `alpha`, where it is not. A picture without alpha is black. */
export function maskOf({ bytes, width, height }: Upload, channel: MaskChannel): LazyPicture {
  const at = { red: 0, green: 1, blue: 2, alpha: 3 }[channel];
  const grey = async () => {
    const { data, channels } = await Image.load(bytes);
    const level = (pixel: number) => data[pixel * channels + at]!;
    if (at < 3) return greys({ width, height }, level);
    return greys({ width, height }, channels === 3 ? () => 0 : (pixel) => 255 - level(pixel));
  };
  return { width, height, bytes: async () => file(await grey()) };
}

/** At another size, by Pillow's Lanczos or the nearest pixel; what does not fit its ratio is cut off around the middle, or squeezed. */
export function scaled(
  picture: LazyPicture,
  { width, height, kernel, isCut }: { width: number; height: number; kernel: 'lanczos3' | 'nearest'; isCut: boolean },
): LazyPicture {
  const target = isCut ? ratioOf({ width, height }, picture) : picture;
  const whole = target === picture ? picture : cut(picture, target);
  return { width, height, bytes: async () => file(await (await read(whole)).resize(width, height, { kernel })) };
}

/** The middle of a picture. */
export function cut(picture: LazyPicture, { width, height }: { width: number; height: number }): LazyPicture {
  if (picture.width === width && picture.height === height) return picture;
  const [left, top] = [Math.floor((picture.width - width) / 2), Math.floor((picture.height - height) / 2)];
  const pixels = async () => {
    const { data, channels, width: stride } = await read(picture);
    const rows = Array.from({ length: height }, (_, y) => {
      const from = ((top + y) * stride + left) * channels;
      return data.subarray(from, from + width * channels);
    });
    return new Image({ width, height, channels, data: new Uint8Array(Buffer.concat(rows)) });
  };
  return { width, height, bytes: async () => file(await pixels()) };
}

/** A picture that is grey where its mask covers it, and the mask grown by so many pixels. */
export function emptied(
  picture: LazyPicture,
  mask: LazyPicture,
  growth: number,
): { picture: LazyPicture; mask: LazyPicture } {
  const { width, height } = picture;
  /** 1 where the mask is bright. */
  const covered = async () => {
    const grey = await (await read(mask)).resize(width, height);
    return Uint8Array.from({ length: width * height }, (_, i) => (grey.data[i * grey.channels]! >= 128 ? 1 : 0));
  };
  const grown = async () => {
    const wide = grow(await covered(), { count: height, length: width, stride: width, step: 1, growth });
    const whole = grow(wide, { count: width, length: height, stride: 1, step: width, growth });
    return greys(picture, (pixel) => 255 * whole[pixel]!);
  };
  const emptied = async () => {
    const [image, isCovered] = [await read(picture), await covered()];
    const { channels } = image;
    return new Image({
      ...image,
      data: image.data.map((level, i) => (isCovered[Math.floor(i / channels)] ? 128 : level)),
    });
  };
  return {
    picture: { width, height, bytes: async () => file(await emptied()) },
    mask: { width, height, bytes: async () => file(await grown()) },
  };
}

interface Lines {
  count: number;
  length: number;
  /** From one line to the next, and from one element to the next. */
  stride: number;
  step: number;
  growth: number;
}

/** What is covered reaches along its line: as a maximum over `growth` elements, of which the larger half is before. */
function grow(plane: Uint8Array, { count, length, stride, step, growth }: Lines): Uint8Array {
  if (growth < 2) return plane;
  const [before, after] = [Math.ceil((growth - 1) / 2), Math.floor((growth - 1) / 2)];
  const out = new Uint8Array(plane.length);
  for (let line = 0; line < count; line++) {
    let last = Number.NEGATIVE_INFINITY;
    for (let at = -after; at < length; at++) {
      const ahead = at + after;
      if (ahead < length && plane[line * stride + ahead * step]) last = ahead;
      if (at >= 0 && last >= at - before) out[line * stride + at * step] = 1;
    }
  }
  return out;
}

/** The largest middle of a picture that has the ratio of a size. */
function ratioOf(size: { width: number; height: number }, { width, height }: LazyPicture) {
  const [old, wanted] = [width / height, size.width / size.height];
  const [dropX, dropY] = [
    old > wanted ? Math.round((width - width * (wanted / old)) / 2) : 0,
    old < wanted ? Math.round((height - height * (old / wanted)) / 2) : 0,
  ];
  return { width: width - 2 * dropX, height: height - 2 * dropY };
}

function greys({ width, height }: { width: number; height: number }, level: (pixel: number) => number): Image {
  const data = new Uint8Array(3 * width * height);
  for (let i = 0; i < width * height; i++) data.fill(level(i), 3 * i, 3 * i + 3);
  return new Image({ width, height, channels: 3, data });
}
