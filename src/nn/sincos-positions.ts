/** Fixed sine-cosine position embeddings of a token grid ("2D sincos", arXiv 2010.11929), computed on the host. */
import { floatTensor, type Tensor } from '../tensor/tensor.ts';

export interface SincosPositionOptions {
  /** Features per token: the first half encodes the column, the second the row, each as [sin | cos]. */
  width: number;
  /** Tokens per side that the model was trained at; other grids are stretched over the same span of positions. */
  baseSize: number;
  /** Divides all positions. */
  interpolationScale?: number;
}

/** The table [1, rows · columns, width] of a grid. */
export function sincosPositions(
  [rows, columns]: readonly [number, number],
  { width, baseSize, interpolationScale = 1 }: SincosPositionOptions,
): Tensor {
  const options = { features: width / 2, baseSize, interpolationScale };
  const rowTable = axisTable(rows, options);
  const columnTable = axisTable(columns, options);
  const out = new Float32Array(rows * columns * width);
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at += width) {
      out.set(columnTable[column]!, at);
      out.set(rowTable[row]!, at + width / 2);
    }
  }
  return floatTensor(out, [1, rows * columns, width]);
}

export interface VideoPositionOptions {
  /** Features per token: a quarter encodes the frame, then three eighths each the column and the row. */
  width: number;
  /** Divides rows and columns. */
  spatialScale: number;
  /** Divides frames. */
  temporalScale: number;
}

/** The table [1, frames · rows · columns, width] of a video's grid. */
export function sincosVideoPositions(
  [frames, rows, columns]: readonly [number, number, number],
  { width, spatialScale, temporalScale }: VideoPositionOptions,
): Tensor {
  const ofSpace = { features: (3 * width) / 8, interpolationScale: spatialScale };
  const frameTable = axisTable(frames, { features: width / 4, baseSize: frames, interpolationScale: temporalScale });
  const rowTable = axisTable(rows, { ...ofSpace, baseSize: rows });
  const columnTable = axisTable(columns, { ...ofSpace, baseSize: columns });
  const out = new Float32Array(frames * rows * columns * width);
  let at = 0;
  for (const frame of frameTable) {
    for (const row of rowTable) {
      for (const column of columnTable) {
        for (const features of [frame, column, row]) {
          out.set(features, at);
          at += features.length;
        }
      }
    }
  }
  return floatTensor(out, [1, frames * rows * columns, width]);
}

interface AxisOptions {
  features: number;
  baseSize: number;
  interpolationScale: number;
}

/** One row of [sin | cos] features per position along an axis. Positions are float32 and angles double, as in Diffusers. */
function axisTable(size: number, { features, baseSize, interpolationScale }: AxisOptions): Float32Array[] {
  const half = features / 2;
  const stretch = Math.fround(size / baseSize);
  return Array.from({ length: size }, (_, index) => {
    const position = Math.fround(Math.fround(index / stretch) / interpolationScale);
    const row = new Float32Array(features);
    for (let i = 0; i < half; i++) {
      const angle = position / 10000 ** (i / half);
      row[i] = Math.sin(angle);
      row[half + i] = Math.cos(angle);
    }
    return row;
  });
}
