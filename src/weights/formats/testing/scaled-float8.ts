/** Test support: checkpoints of float8 codes beside scales, and the numbers that they stand for. */
import { toFloat32 } from '../../../tensor/convert.ts';
import { floatTensor, sizeOf, Tensor } from '../../../tensor/tensor.ts';

/** How a program lays out its scales. */
export interface ScaleLayout {
  /** Of the scale beside `layer.weight`. */
  suffix: 'scale_weight' | 'weight_scale' | 'weight_scale_inv';
  /** What shares a scale. */
  per: 'tensor' | 'row' | 'tile';
  /** Stored beside the weights. */
  marker?: string;
}

type Tensors = Record<string, Tensor>;

/** Every matrix and every kernel under a list of blocks as made-up codes with scales, and the same checkpoint as plain numbers. */
export function scaledCheckpoint(
  original: Tensors,
  { suffix, per, marker }: ScaleLayout,
): { scaled: Tensors; plain: Tensors } {
  const scaled: Tensors = {};
  const plain: Tensors = {};
  for (const [name, tensor] of Object.entries(original)) {
    if (!/\.\d+\..*\.weight$/.test(name) || tensor.shape.length < 2 || name.includes('relative_attention_bias')) {
      scaled[name] = plain[name] = tensor;
      continue;
    }
    const rows = tensor.dim(0);
    const width = tensor.size / rows;
    const shape = { tensor: [], row: [rows, 1], tile: [Math.ceil(rows / 128), Math.ceil(width / 128)] }[per];
    const scales = Float32Array.from({ length: sizeOf(shape) }, (_, i) => (1 + i / 7) / 1000);
    // 0x7f and 0xff are NaN.
    const codes = Uint8Array.from(
      { length: rows * width },
      (_, i) => ((i * 73 + name.length * 31) % 127) | ((i & 4) << 5),
    );
    scaled[name] = new Tensor('float8_e4m3fn', codes, tensor.shape);
    scaled[name.replace(/weight$/, suffix)] = floatTensor(scales, shape);
    const scaleAt = {
      tensor: () => 0,
      row: (row: number) => row,
      tile: (row: number, column: number) => (row >> 7) * shape[1]! + (column >> 7),
    };
    plain[name] = floatTensor(
      toFloat32('float8_e4m3fn', codes).map(
        (code, i) => code * scales[scaleAt[per](Math.floor(i / width), i % width)]!,
      ),
      tensor.shape,
    );
  }
  if (marker !== undefined) scaled[marker] = new Tensor('float8_e4m3fn', new Uint8Array(0), [0]);
  return { scaled, plain };
}
