/** Images as coloured text: every character cell shows two pixels, the upper half block in front of a background. */
import type { Pixels } from './pixels.ts';

export interface TerminalOptions {
  /** Width in character cells; an image is never enlarged. Default 64. */
  columns?: number;
  /** 24-bit colours (default); otherwise the 256-colour palette. */
  truecolor?: boolean;
}

/** Lines of text with colour codes, each ending in a reset and a line break. Alpha fades to black. */
export function renderToTerminal(image: Pixels, { columns = 64, truecolor = true }: TerminalOptions = {}): string {
  const width = Math.max(1, Math.min(Math.floor(columns), image.width));
  const height = Math.max(1, Math.round((image.height * width) / image.width));
  const colour = (x: number, y: number, layer: 38 | 48) => {
    const rgb = meanColour(image, { x, y, width, height });
    return truecolor ? `\x1b[${layer};2;${rgb.join(';')}m` : `\x1b[${layer};5;${paletteIndex(rgb)}m`;
  };
  let out = '';
  for (let y = 0; y < height; y += 2) {
    for (let x = 0; x < width; x++) {
      out += `${colour(x, y, 38)}${y + 1 < height ? colour(x, y + 1, 48) : ''}▀`;
    }
    out += '\x1b[0m\n';
  }
  return out;
}

/** Mean over the pixels that cell (x, y) of a `width` by `height` raster covers. */
function meanColour(
  image: Pixels,
  cell: { x: number; y: number; width: number; height: number },
): [number, number, number] {
  const { data, channels } = image;
  const edge = (index: number, cells: number, pixels: number) => Math.floor((index * pixels) / cells);
  const [x0, y0] = [edge(cell.x, cell.width, image.width), edge(cell.y, cell.height, image.height)];
  const x1 = Math.max(x0 + 1, edge(cell.x + 1, cell.width, image.width));
  const y1 = Math.max(y0 + 1, edge(cell.y + 1, cell.height, image.height));
  const sum: [number, number, number] = [0, 0, 0];
  for (let y = y0; y < y1; y++) {
    for (let x = x0; x < x1; x++) {
      const at = (y * image.width + x) * channels;
      const opacity = channels === 4 ? data[at + 3]! / 255 : 1;
      for (let c = 0; c < 3; c++) sum[c]! += data[at + c]! * opacity;
    }
  }
  const count = (x1 - x0) * (y1 - y0);
  return [Math.round(sum[0] / count), Math.round(sum[1] / count), Math.round(sum[2] / count)];
}

/** Nearest entry of xterm's 6 x 6 x 6 colour cube, whose levels are 0, 95, 135, ... 255. */
function paletteIndex(rgb: readonly number[]): number {
  const [r, g, b] = rgb.map((level) => (level < 48 ? 0 : level < 115 ? 1 : Math.floor((level - 35) / 40)));
  return 16 + 36 * r! + 6 * g! + b!;
}
