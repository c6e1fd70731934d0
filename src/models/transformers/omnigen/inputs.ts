/** What OmniGen makes of positions and given pictures on the host. */

import { DejaDitError } from '../../../errors/errors.ts';
import { patchGrid } from '../../../nn/patches.ts';
import type { RotaryTables } from '../../../nn/rotary.ts';
import { dims, floatTensor, intTensor, type Tensor } from '../../../tensor/tensor.ts';

import { checkTensorList, type ForwardInputs, type InputValue } from '../../inputs.ts';

/** Rotary frequencies of Phi-3. */
export interface SuRope {
  /** Of a head. */
  width: number;
  base: number;
  maxPositions: number;
  originalPositions: number;
  /** Divide the frequencies of sequences up to `originalPositions`, and of longer ones. */
  short: readonly number[];
  long: readonly number[];
}

/** Tables [1, S, width / 2]. As in Diffusers, all samples take the positions of the first. */
export function suRotary(positions: Tensor, rope: SuRope): RotaryTables {
  const { width, base, maxPositions, originalPositions } = rope;
  const half = width / 2;
  const longest = positions.f32.reduce((max, position) => Math.max(max, position), 0);
  const factors = longest + 1 > originalPositions ? rope.long : rope.short;
  const stretch = maxPositions / originalPositions;
  const length = stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(originalPositions));
  const tokens = positions.dim(1);
  const angles = Float32Array.from({ length: tokens * half }, (_, at) => {
    const i = at % half;
    return positions.f32[Math.floor(at / half)]! / (factors[i]! * base ** ((2 * i) / width));
  });
  const table = (of: (angle: number) => number) =>
    floatTensor(
      angles.map((angle) => length * of(angle)),
      [1, tokens, half],
    );
  return { cos: table(Math.cos), sin: table(Math.sin) };
}

export interface GivenImagesOptions {
  /** [B, T]. */
  ids: Tensor;
  inChannels: number;
  patchSize: number;
}

/**
 * Reads `input_img_latents`, pictures [1, C, H, W], and `input_image_sizes`, for each sample by its index the spans of prompt tokens that
 * pictures take, in order. `prompt_rows` [B, T] are rows of [all prompt tokens, all picture tokens].
 */
export function givenImages(inputs: ForwardInputs, { ids, inChannels, patchSize }: GivenImagesOptions) {
  const latents = Array.isArray(inputs.input_img_latents) ? (inputs.input_img_latents as readonly InputValue[]) : [];
  const tensors: Record<string, Tensor> = {};
  if (latents.length === 0) return { tensors, count: 0 };
  const pictures = checkTensorList('input_img_latents', latents, [1, inChannels, 'height', 'width']);
  const sizes = pictures.map((picture) => {
    const [rows, columns] = patchGrid('input_img_latents', picture, [patchSize, patchSize]);
    return rows * columns;
  });
  const [batch, tokens] = dims(ids, 2);
  const rows = Array.from({ length: batch * tokens }, (_, i) => i);
  const spans = Object.entries(
    (inputs.input_image_sizes ?? {}) as Record<string, readonly (readonly [number, number])[]>,
  );
  let [picture, from] = [0, batch * tokens];
  for (const [sample, ofSample] of spans) {
    for (const [start, end] of ofSample) {
      if (end - start !== sizes[picture] || !(Number(sample) < batch) || start < 0 || end > tokens) {
        throw new DejaDitError(
          'INVALID_ARGUMENT',
          `span [${start}, ${end}] of sample ${sample} is not as long as picture ${picture}, ${sizes[picture]}`,
          {
            path: 'input_image_sizes',
          },
        );
      }
      for (let token = start; token < end; token++) rows[Number(sample) * tokens + token] = from++;
      picture++;
    }
  }
  for (const [i, latent] of pictures.entries()) tensors[`image_${i}`] = latent;
  return { tensors: { ...tensors, prompt_rows: intTensor(rows, [batch, tokens]) }, count: pictures.length };
}
