/** A language model that sees pictures, with its processor: texts with places for pictures to embeddings. */
import type { GraphModel } from '../../models/graph-model.ts';
import { cut } from '../../tensor/slices.ts';
import { dims, type Tensor } from '../../tensor/tensor.ts';
import type { Tokenizer } from '../../tokenizers/tokenizer.ts';
import type { PatchedPictures, PictureProcessor } from './picture-processor.ts';
import { type EncodeTextOptions, TextEncoder } from './text-encoder.ts';

/** What a text has in the place of a picture. */
export const pictureToken = '<|image_pad|>';

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

  /**
   * Each text alone, with all pictures in the places it has for them: [tokens, width]. Nothing is cut off its end.
   *
   * Diffusers does not tell Transformers which tokens are of pictures, so that from version 5 on all count as text, one position each.
   */
  async encodeWithPictures(
    texts: readonly string[],
    { pixel_values, image_grid_thw, tokens }: PatchedPictures,
    { templateTokens = 0, signal }: Pick<EncodeTextOptions, 'templateTokens' | 'signal'>,
  ): Promise<Tensor[]> {
    const known = new Map<string, Tensor>();
    for (const text of new Set(texts)) {
      let picture = 0;
      const whole = text.replaceAll(pictureToken, (place) => place.repeat(tokens[picture++] ?? 1));
      const tokenized = this.tokenizer.tokenize([whole]);
      const { hidden } = await this.run(tokenized, { inputs: { pixel_values, image_grid_thw }, signal });
      const [, count, width] = dims(hidden, 3);
      known.set(text, cut(hidden, { axis: 1, from: templateTokens, to: count }).reshape([-1, width]));
    }
    return texts.map((text) => known.get(text)!);
  }
}
