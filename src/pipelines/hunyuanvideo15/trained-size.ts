/** The sizes that HunyuanVideo 1.5 was trained at: about one area, in every shape up to four times as long as wide. */

export interface Size {
  height: number;
  width: number;
}

/** Sizes of whole units whose area is that of a square, the tallest first. */
function trainedSizes({ area, unit }: { area: number; unit: number }): Size[] {
  const units = Math.round(area / unit ** 2);
  const sizes: Size[] = [];
  let [height, width] = [units, 1];
  while (height > 0) {
    if (Math.max(height, width) <= 4 * Math.min(height, width))
      sizes.push({ height: height * unit, width: width * unit });
    if ((width + 1) * height <= units) width += 1;
    else height -= 1;
  }
  return sizes;
}

/**
 * The trained size whose shape is next to that asked for, and no more extreme.
 * @param edge of a square of the trained area, in pixels
 * @param unit that edges are multiples of
 */
export function trainedSize(asked: Size, { edge, unit }: { edge: number; unit: number }): Size {
  const ratioOf = ({ height, width }: Size) => Math.round((height / width) * 1e5) / 1e5;
  const ratio = asked.height / asked.width;
  const beyond = trainedSizes({ area: edge ** 2, unit }).map((size) => ({ size, by: ratioOf(size) - ratio }));
  const milder = beyond.filter(({ by }) => (ratio >= 1 ? by <= 0 : by >= 0));
  return milder.reduce((best, next) => (Math.abs(next.by) < Math.abs(best.by) ? next : best)).size;
}
