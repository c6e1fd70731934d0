/** A language model that sees pictures, with its processor: texts with places for pictures to embeddings. */
import type { GraphModel } from '../../models/graph-model.ts';
import { cut } from '../../tensor/slices.ts';
import { dims, type Tensor } from '../../tensor/tensor.ts';
import type { Tokenizer } from '../../tokenizers/tokenizer.ts';
import type { PatchedPictures, PictureProcessor } from './picture-processor.ts';
import { idTensor } from './tensors.ts';
import { type EncodeTextOptions, TextEncoder } from './text-encoder.ts';

/** What a text has in the place of a picture. */
export const pictureToken = '<|image_pad|>';

export interface ReadingPictures
  extends Pick<EncodeTextOptions, 'templateTokens' | 'hiddenState' | 'finalNorm' | 'signal'> {
  /**
   * Whether tokens of pictures have positions in rows and columns. Default false, one position after the other as in text: some pipelines of
   * Diffusers do not tell Transformers which tokens are of pictures.
   */
  inRows?: boolean;
}

export class VisionEncoder extends TextEncoder {
  /** @param processor of its pictures, for `patchPictures` */
  constructor(
    name: string,
    model: GraphModel,
    tokenizer: Tokenizer,
    readonly processor: PictureProcessor,
  ) {
    super(name, model, tokenizer);
  }

  /** Each text alone, with all pictures in the places it has for them: [tokens, width]. Nothing is cut off its end. */
  async encodeWithPictures(
    texts: readonly string[],
    pictures: PatchedPictures,
    { templateTokens = 0, inRows = false, ...options }: ReadingPictures,
  ): Promise<Tensor[]> {
    const { pixel_values, image_grid_thw } = pictures;
    const known = new Map<string, Tensor>();
    for (const text of new Set(texts)) {
      const { ids, types } = this.tokenizeWithPictures(text, pictures);
      const inputs = { pixel_values, image_grid_thw, ...(inRows ? { mm_token_type_ids: idTensor([types]) } : {}) };
      const { hidden } = await this.run({ inputIds: [ids], attentionMask: [ids.map(() => 1)] }, { ...options, inputs });
      const [, count, width] = dims(hidden, 3);
      known.set(text, cut(hidden, { axis: 1, from: templateTokens, to: count }).reshape([-1, width]));
    }
    return texts.map((text) => known.get(text)!);
  }

  /** Ids of a text's tokens, and for each 1 if it is of a picture, else 0. */
  tokenizeWithPictures(text: string, { tokens }: Pick<PatchedPictures, 'tokens'>): { ids: number[]; types: number[] } {
    let picture = 0;
    const whole = text.replaceAll(pictureToken, (place) => place.repeat(tokens[picture++] ?? 1));
    const ids = this.tokenizer.tokenize([whole]).inputIds[0]!;
    const place = this.tokenizer.tokenize([pictureToken], { addSpecialTokens: false }).inputIds[0]![0];
    return { ids, types: ids.map((id) => Number(id === place)) };
  }
}
