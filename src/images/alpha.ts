/** Transparency as Pillow computes it, to the byte. */
import type { Pixels } from './pixels.ts';

/** Colours times opacity. */
export function premultiplied(image: Pixels): Pixels {
  return mapColours(image, (level, alpha) => byteProduct(level, alpha));
}

/** What `premultiplied` was made from, as far as it is visible. */
export function unpremultiplied(image: Pixels): Pixels {
  return mapColours(image, (level, alpha) =>
    alpha === 0 || alpha === 255 ? level : Math.min(255, Math.trunc((255 * level) / alpha)),
  );
}

/** An opaque copy, seen before white. */
export function onWhite({ width, height, channels, data }: Pixels): Pixels {
  if (channels === 3) return { width, height, channels, data };
  const out = new Uint8Array(width * height * 3);
  for (let pixel = 0, to = 0; pixel < width * height; pixel++) {
    const alpha = data[4 * pixel + 3]!;
    for (let c = 0; c < 3; c++) out[to++] = dividedBy255(255 * (255 - alpha) + data[4 * pixel + c]! * alpha);
  }
  return { width, height, channels: 3, data: out };
}

function mapColours(image: Pixels, map: (level: number, alpha: number) => number): Pixels {
  if (image.channels === 3) return image;
  const data = image.data.map((level, i) => (i % 4 === 3 ? level : map(level, image.data[i - (i % 4) + 3]!)));
  return { ...image, data };
}

const byteProduct = (a: number, b: number) => dividedBy255(a * b);

/** Rounded, of at most 255². */
function dividedBy255(value: number): number {
  const near = value + 128;
  return ((near >> 8) + near) >> 8;
}
