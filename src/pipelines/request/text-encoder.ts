/** A text encoder with its tokenizer: texts to embeddings. Which texts, and what a template adds to them, is each pipeline's business. */
import { DejaDitError } from '../../errors/errors.ts';
import type { WarningLog } from '../../errors/warnings.ts';
import type { GraphModel } from '../../models/graph-model.ts';
import type { ForwardInputs, InputValue } from '../../models/inputs.ts';
import { cut, join } from '../../tensor/slices.ts';
import { dims, floatTensor, type Shape, sizeOf, type Tensor } from '../../tensor/tensor.ts';
import type { TokenizedTexts, Tokenizer } from '../../tokenizers/tokenizer.ts';
import type { Condition } from './conditions.ts';
import type { GuidanceBranch } from './denoise.ts';
import { weightedTexts } from './prompt-weights.ts';
import { idTensor, padEnd } from './tensors.ts';

export interface EncodeTextOptions {
  /** Tokens per text, special ones included; the rest is cut. */
  maxLength: number;
  /** Tokens of a template in front of each text, which the encoder reads and the result leaves out. Default 0. */
  templateTokens?: number;
  /** Which hidden state to return, or several side by side; default the last one, behind the final norm. */
  hiddenState?: number | readonly number[];
  /** Whether that one passes the final norm too. Default: as the encoder has it, a decoder's last state does. */
  finalNorm?: boolean;
  /** Whether padding is hidden from the text. Default: it is read as if it were text. */
  masked?: boolean;
  /** Default: the tokenizer's. */
  paddingSide?: 'left' | 'right';
  /** How parentheses are read: as weights, the way ComfyUI does. Default: as text. Of texts padded behind. */
  weighting?: PromptWeighting | undefined;
  /** Default true; false where a template has written them. */
  addSpecialTokens?: boolean;
  /** A text that is read behind each text, beyond `maxLength`. `encodeEach` alone has it. */
  suffix?: string;
  /** Token that stands for an empty text, as often as the longest other text has tokens. Default: what the tokenizer makes of it. */
  emptyText?: number;
  /** Takes what was cut. Left out where some other encoder of the pipeline still reads it. */
  warnings?: WarningLog | undefined;
  signal?: AbortSignal | undefined;
  /** Of the model, beside those of texts. */
  inputs?: ForwardInputs | undefined;
}

export type PromptWeighting = 'comfyui';

export interface EncodedTexts {
  /** [texts, maxLength, width]. */
  hidden: Tensor;
  /** CLIP's summary of each text [texts, width]; absent from other encoders. */
  pooled: Tensor | undefined;
  /** [texts, tokens], 1 for tokens and 0 for padding. */
  mask: Tensor;
}

export class TextEncoder {
  /** @param name of its component in the checkpoint */
  constructor(
    readonly name: string,
    readonly model: GraphModel,
    readonly tokenizer: Tokenizer,
  ) {}

  /** Texts padded to one length: what CLIP and an unmasked T5 were trained with, and models that look at the padding too. */
  async encodePadded(texts: readonly string[], options: EncodeTextOptions): Promise<EncodedTexts> {
    const positions = Number(this.model.config['max_position_embeddings'] ?? Infinity);
    if (options.maxLength > positions) {
      const message = `texts of ${options.maxLength} tokens do not fit its ${positions} positions; is model_max_length of its tokenizer right?`;
      throw new DejaDitError('INVALID_CONFIG', message, { path: this.name });
    }
    if (options.weighting) return this.encodeWeighted(texts, options);
    return this.run(this.tokenize(texts, { ...options, padding: 'max_length' }), options);
  }

  /** Each token's hidden state, as many times as far from that of an empty text as its weight says; summaries know no weights. */
  private async encodeWeighted(texts: readonly string[], options: EncodeTextOptions): Promise<EncodedTexts> {
    const rows = texts.map((text) => this.weightedRow(text, options));
    const isWeighted = rows.some(({ weights }) => weights.some((weight) => weight !== 1));
    const all = isWeighted ? [...rows, this.weightedRow('', options)] : rows;
    const { hidden, pooled, mask } = await this.run(
      { inputIds: all.map(({ ids }) => ids), attentionMask: all.map(({ mask }) => mask) },
      options,
    );
    if (!isWeighted) return { hidden, pooled, mask };
    const own = (tensor: Tensor) => cut(tensor, { axis: 0, from: 0, to: rows.length });
    const weights = rows.flatMap((row) => row.weights);
    const [tokens, width] = [hidden.dim(1), hidden.dim(2)];
    const empty = hidden.f32.subarray(rows.length * tokens * width);
    const moved = own(hidden).f32.map((value, i) => {
      const weight = weights[Math.floor(i / width)]!;
      const origin = empty[i % (tokens * width)]!;
      return weight === 1 ? value : Math.fround(Math.fround(value - origin) * weight) + origin;
    });
    return { hidden: floatTensor(moved, [rows.length, tokens, width]), pooled: pooled && own(pooled), mask: own(mask) };
  }

  /** Ids and weights of a text, cut or padded to its length. Words are read one by one, as ComfyUI does. */
  private weightedRow(text: string, { maxLength, warnings }: EncodeTextOptions) {
    const specials = this.tokenizer.encode('');
    const [prefix, suffix] = [specials.slice(0, -1), specials.slice(-1)];
    const words = weightedTexts(text).flatMap(({ text: part, weight }) =>
      part
        .replaceAll('\n', ' ')
        .split(' ')
        .filter((word) => word !== '')
        .flatMap((word) => this.wordIds(word).map((id) => ({ id, weight }))),
    );
    const kept = words.slice(0, maxLength - specials.length);
    const rest = this.tokenizer.decode(words.slice(kept.length).map(({ id }) => id));
    if (words.length > kept.length) warnings?.add(cutText(maxLength, rest));
    const padding = maxLength - specials.length - kept.length;
    const fill = (value: number) => Array<number>(padding).fill(value);
    const ids = [...prefix, ...kept.map(({ id }) => id), ...suffix];
    return {
      ids: padding > 0 ? [...ids, ...fill(this.padToken)] : ids,
      mask: [...ids.map(() => 1), ...fill(0)],
      weights: [...prefix.map(() => 1), ...kept.map(({ weight }) => weight), ...suffix.map(() => 1), ...fill(1)],
    };
  }

  private wordIds(word: string): number[] {
    return this.tokenizer.tokenize(word, { addSpecialTokens: false, maxLength: Number.POSITIVE_INFINITY }).inputIds[0]!;
  }

  /** Texts padded in front, to a multiple of tokens that the longest of them fits; the padding is read as if it were text. */
  encodePaddedInFront(texts: readonly string[], multiple: number, options: EncodeTextOptions): Promise<EncodedTexts> {
    const { inputIds } = this.tokenize(texts, { ...options, padding: false });
    const length = Math.ceil(Math.max(1, ...inputIds.map((row) => row.length)) / multiple) * multiple;
    const padded = inputIds.map((row) => [...Array<number>(length - row.length).fill(this.padToken), ...row]);
    return this.run({ inputIds: padded, attentionMask: padded.map((row) => row.map(() => 1)) }, options);
  }

  /**
   * Each text alone and without padding, [tokens, width]. For the tokens of the text this equals what an encoder that is given a
   * mask computes next to padding, at a fraction of the cost.
   */
  async encodeEach(texts: readonly string[], options: EncodeTextOptions): Promise<Tensor[]> {
    const { templateTokens = 0, suffix, emptyText } = options;
    const different = [...new Set(texts)];
    const { inputIds } = this.tokenize(different, { ...options, padding: false });
    const longest = Math.max(1, ...inputIds.filter((_, i) => different[i] !== '').map((row) => row.length));
    const behind = suffix === undefined ? [] : this.tokenizer.encode(suffix);
    const known = new Map<string, Tensor>();
    for (const [i, text] of different.entries()) {
      const isReplaced = text === '' && emptyText !== undefined;
      const ids = isReplaced ? Array<number>(longest).fill(emptyText) : [...inputIds[i]!, ...behind];
      const { hidden } = await this.run(unpadded(ids.length > 0 ? ids : [this.tokenizer.bosTokenId ?? 0]), options);
      const [, tokens, width] = dims(hidden, 3);
      const own = cut(hidden, { axis: 1, from: Math.min(templateTokens, tokens), to: tokens });
      known.set(text, own.reshape([-1, width]));
    }
    return texts.map((text) => known.get(text)!);
  }

  dispose(): Promise<void> {
    return this.model.dispose();
  }

  private get padToken(): number {
    const { padTokenId } = this.tokenizer;
    if (padTokenId !== undefined) return padTokenId;
    throw new DejaDitError('INVALID_CONFIG', 'its tokenizer has no token for padding', { path: this.name });
  }

  private tokenize(
    texts: readonly string[],
    options: EncodeTextOptions & { padding: 'max_length' | false },
  ): Pick<TokenizedTexts, 'inputIds' | 'attentionMask'> {
    const { maxLength, templateTokens = 0, padding, paddingSide, addSpecialTokens = true, warnings } = options;
    const { truncated, ...tokens } = this.tokenizer.tokenize([...texts], {
      padding,
      ...(paddingSide ? { paddingSide } : {}),
      truncation: true,
      addSpecialTokens,
      maxLength: templateTokens + maxLength,
    });
    for (const rest of truncated) if (rest) warnings?.add(cutText(maxLength, rest));
    return tokens;
  }

  /** Ids as they are. */
  async run(
    { inputIds, attentionMask }: Pick<TokenizedTexts, 'inputIds' | 'attentionMask'>,
    { hiddenState, finalNorm, masked, signal, inputs }: Omit<EncodeTextOptions, 'maxLength'>,
  ): Promise<EncodedTexts> {
    const states = hiddenState === undefined ? [] : [hiddenState].flat();
    const mask = idTensor(attentionMask);
    const outputs = await this.model.call(
      'forward',
      {
        ...inputs,
        input_ids: idTensor(inputIds),
        ...(masked ? { attention_mask: mask } : {}),
        ...(states.length > 0
          ? { output_hidden_states: states, ...(finalNorm !== undefined && { final_norm: finalNorm }) }
          : {}),
      },
      signal,
    );
    const hidden = states.map((state) => outputs[`hidden_states.${state}`]!);
    return {
      hidden: hidden.length > 0 ? join(hidden, 2) : outputs['last_hidden_state']!,
      pooled: outputs['pooler_output'] ?? outputs['text_embeds'],
      mask: mask.float(),
    };
  }
}

/** Ids of one text, all of which are read. */
function unpadded(ids: readonly number[]): Pick<TokenizedTexts, 'inputIds' | 'attentionMask'> {
  return { inputIds: [[...ids]], attentionMask: [ids.map(() => 1)] };
}

/** What is said of a prompt's end that is not read. */
export const cutText = (maxLength: number, rest: string) =>
  `only ${maxLength} tokens of the prompt are read; this part is ignored: '${rest}'`;

/** Texts [tokens, width] as one batch [texts, length, width] with zeros behind each. @param length default: the longest */
export function padTexts(
  texts: readonly Tensor[],
  length = Math.max(...texts.map((text) => text.dim(0))),
): { embeds: Tensor; mask: Tensor } {
  const padded = texts.map((text) => padEnd(text, { axis: 0, length }).reshape([1, length, -1]));
  const mask = texts.flatMap((text) => Array.from({ length }, (_, token) => (token < text.dim(0) ? 1 : 0)));
  return { embeds: join(padded, 0), mask: floatTensor(mask, [texts.length, length]) };
}

/** A condition as hidden states and a mask of its tokens, under the names that many transformers have for them. */
export async function embedMasked(
  textEncoder: TextEncoder,
  { texts: [texts], embeds }: Condition,
  { prepare = (text) => text, ...options }: EncodeTextOptions & { prepare?: (text: string) => string },
): Promise<{ encoder_hidden_states: Tensor; encoder_attention_mask: Tensor }> {
  if (embeds) {
    const hidden = embeds['promptEmbeds'] as Tensor;
    const mask = (embeds['promptAttentionMask'] ?? embeds['promptEmbedsMask']) as Tensor | undefined;
    return { encoder_hidden_states: hidden, encoder_attention_mask: mask ?? ones(hidden.shape.slice(0, 2)) };
  }
  const { embeds: hidden, mask } = padTexts(await textEncoder.encodeEach(texts!.map(prepare), options));
  return { encoder_hidden_states: hidden, encoder_attention_mask: mask };
}

/** Branches with one number of tokens, for calls that they share: zeros behind those that have fewer. */
export function equalLengths(branches: readonly GuidanceBranch[]): GuidanceBranch[] {
  const tokens = (tensor: InputValue) => (tensor as Tensor).dim(1);
  const length = Math.max(...branches.map(({ inputs }) => tokens(inputs['encoder_hidden_states'])));
  const padded = (inputs: ForwardInputs) =>
    Object.entries(inputs).map(([name, tensor]) => [name, padEnd(tensor as Tensor, { axis: 1, length })] as const);
  return branches.map(({ name, inputs }) => ({ name, inputs: Object.fromEntries(padded(inputs)) }));
}

function ones(shape: Shape): Tensor {
  return floatTensor(new Float32Array(sizeOf(shape)).fill(1), shape);
}
