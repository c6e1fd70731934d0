/**
 * Reads a SentencePiece model (spiece.model: a protobuf message) and makes a T5 tokenizer definition out of it, for
 * repositories that carry no tokenizer.json. Only Unigram models; the steps around the vocabulary are those of T5.
 */
import { DejaDitError } from '../errors/errors.ts';
import { toBase64 } from './base64.ts';
import { addedToken, type TokenizerDefinition } from './definition.ts';

export interface SentencePieceModel {
  /** Pieces with their scores; a piece's index is its id. */
  pieces: [text: string, score: number][];
  unknownId: number;
  /** Compiled normalisation rules, empty for the identity. */
  charsmap: Uint8Array;
}

// Field numbers of sentencepiece_model.proto.
const fields = {
  model: { pieces: 1, trainer: 2, normalizer: 3 },
  piece: { text: 1, score: 2, type: 3 },
  trainer: { modelType: 3 },
  normalizer: { charsmap: 2 },
};
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
const unigram = 1;
const unknownPiece = 2;

/**
 * @throws DejaDitError `INVALID_FILE` if the bytes are no SentencePiece model, `UNSUPPORTED` if it is no Unigram model
 */
export function parseSentencePiece(bytes: Uint8Array, path: string): SentencePieceModel {
  const model: SentencePieceModel = { pieces: [], unknownId: -1, charsmap: new Uint8Array() };
  const damaged = (cause?: unknown) =>
    new DejaDitError('INVALID_FILE', 'is not a SentencePiece model, or damaged', { path, cause });
  let modelType = unigram;
  try {
    for (const { field, value } of protobufFields(bytes)) {
      if (!(value instanceof Uint8Array)) continue;
      if (field === fields.model.pieces) {
        const piece = parsePiece(value);
        if (piece.type === unknownPiece) model.unknownId = model.pieces.length;
        model.pieces.push([piece.text, piece.score]);
      } else if (field === fields.model.trainer) {
        for (const part of protobufFields(value)) {
          if (part.field === fields.trainer.modelType) modelType = Number(part.value);
        }
      } else if (field === fields.model.normalizer) {
        for (const part of protobufFields(value)) {
          if (part.field === fields.normalizer.charsmap) model.charsmap = part.value as Uint8Array;
        }
      }
    }
  } catch (cause) {
    throw damaged(cause);
  }
  if (modelType !== unigram) {
    throw new DejaDitError('UNSUPPORTED', 'is a SentencePiece model of another type than Unigram', { path });
  }
  if (model.pieces.length === 0 || model.unknownId < 0 || !(model.charsmap instanceof Uint8Array)) throw damaged();
  return model;
}

/**
 * The definition of a T5 tokenizer with these pieces and, after them, `extraIds` sentinels `<extra_id_n>` counting down.
 *
 * @param specialTokens further texts that are recognised whole; those that are no piece are left out
 */
export function t5Definition(
  model: SentencePieceModel,
  { extraIds, specialTokens }: { extraIds: number; specialTokens: readonly string[] },
): TokenizerDefinition {
  const sentinels = Array.from({ length: extraIds }, (_, i) => `<extra_id_${extraIds - 1 - i}>`);
  const vocab = [...model.pieces, ...sentinels.map((text): [string, number] => [text, 0])];
  const ids = new Map(vocab.map(([text], id) => [text, id]));
  const special = [...new Set([...specialTokens, ...sentinels])].filter((text) => ids.has(text));
  const charsmap = toBase64(model.charsmap);
  const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true };
  return {
    added_tokens: special.map((content) => addedToken(ids.get(content)!, { content, special: true })),
    normalizer: charsmap === '' ? null : { type: 'Precompiled', precompiled_charsmap: charsmap },
    pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, metaspace] },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
    },
    decoder: metaspace,
    model: { type: 'Unigram', unk_id: model.unknownId, vocab },
  };
}

function parsePiece(bytes: Uint8Array): { text: string; score: number; type: number } {
  const piece = { text: '', score: 0, type: 1 };
  for (const { field, value } of protobufFields(bytes)) {
    if (field === fields.piece.text) piece.text = utf8.decode(value as Uint8Array);
    if (field === fields.piece.score) piece.score = littleFloat(value as Uint8Array);
    if (field === fields.piece.type) piece.type = Number(value);
  }
  return piece;
}

function littleFloat({ buffer, byteOffset, byteLength }: Uint8Array): number {
  return new DataView(buffer, byteOffset, byteLength).getFloat32(0, true);
}

/** The fields of a protobuf message: varints as numbers, everything else as its bytes. Throws RangeError past the end. */
function* protobufFields(bytes: Uint8Array): Generator<{ field: number; value: number | Uint8Array }> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError('varint without end');
  };
  const take = (length: number): Uint8Array => {
    if (at + length > bytes.length) throw new RangeError(`field of ${length} bytes reaches past the end`);
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = varint();
    const field = Math.floor(tag / 8);
    const wireType = tag % 8;
    if (wireType === 0) yield { field, value: varint() };
    else if (wireType === 1) yield { field, value: take(8) };
    else if (wireType === 2) yield { field, value: take(varint()) };
    else if (wireType === 5) yield { field, value: take(4) };
    else throw new RangeError(`wire type ${wireType}`);
  }
}
