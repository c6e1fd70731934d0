/** Which tensors of a file belong to which model: ComfyUI and the first releases keep several in one file, each under a prefix. */
import { DejaDitError } from '../../errors/errors.ts';
import type { TensorInfo } from '../safetensors/safetensors-header.ts';

type Tensors = ReadonlyMap<string, TensorInfo>;

/** Before the names of a model that is in a file with others. */
const prefixes: readonly (readonly [kind: string, prefix: RegExp])[] = [
  ['transformer', /^(?:model\.)?diffusion_model\./],
  ['vae', /^(?:vae|first_stage_model)\./],
  ['text_encoder', /^text_encoders\.[^.]+\.(?:transformer\.)?/],
  ['text_encoder', /^(?:cond_stage_model|conditioner\.embedders\.\d+)\.(?:transformer|model)\./],
];

/** The words by which ComfyUI tells text encoders apart, by class. */
const encoderWords: readonly (readonly [className: RegExp, word: RegExp])[] = [
  [/^CLIP/, /clip_[lgh]/],
  [/^(U?MT5|T5)/, /t5/],
  [/^Qwen/, /qwen/],
  [/^Llama/, /llama/],
  [/^Gemma/, /gemma/],
  [/^Mistral/, /mistral/],
];

/**
 * The tensors of one model, without their prefix. A file without any prefix holds one model.
 * @param component of a pipeline: `transformer`, `vae`, `text_encoder_2`
 * @param model its `config.json`, which tells text encoders apart
 * @throws DejaDitError NOT_FOUND if the file holds other models only
 */
export function modelTensors(
  tensors: Tensors,
  { component, model, path }: { component: string; model: Readonly<Record<string, unknown>>; path: string },
): Tensors {
  const groups = groupByPrefix(tensors);
  const kind = component.replace(/_\d+$/, '');
  const own = [...groups.values()].filter((group) => group.kind === kind && isLike(group, model));
  if (own.length > 0) return own.reduce((a, b) => (b.tensors.size > a.tensors.size ? b : a)).tensors;
  const bare = groups.get('');
  if (bare) return bare.tensors;
  throw new DejaDitError('NOT_FOUND', `has no ${component}, only ${[...groups.keys()].join(', ')}`, { path });
}

interface Group {
  readonly kind: string | undefined;
  readonly prefix: string;
  readonly tensors: Map<string, TensorInfo>;
}

/** By prefix; those without one under `''`. */
export function groupByPrefix(tensors: Tensors): Map<string, Group> {
  const groups = new Map<string, Group>();
  for (const [name, info] of tensors) {
    const [kind, pattern] = prefixes.find(([, candidate]) => candidate.test(name)) ?? [];
    const prefix = pattern?.exec(name)?.[0] ?? '';
    const group = groups.get(prefix) ?? { kind, prefix, tensors: new Map<string, TensorInfo>() };
    groups.set(prefix, group);
    group.tensors.set(name.slice(prefix.length), info);
  }
  return groups;
}

/** Whether a group may be the model: of several text encoders, by the name ComfyUI gives and by the width of the embeddings. */
function isLike({ kind, prefix, tensors }: Group, model: Readonly<Record<string, unknown>>): boolean {
  if (kind !== 'text_encoder') return true;
  const className = String((model['architectures'] as readonly unknown[] | undefined)?.[0] ?? '');
  const [, word] = encoderWords.find(([pattern]) => pattern.test(className)) ?? [];
  if (word && prefix.startsWith('text_encoders.') && !word.test(prefix)) return false;
  const width = model['hidden_size'] ?? model['d_model'];
  const embedding = [...tensors].find(([name]) => /(^|\.)(token_embedding|shared|embed_tokens)\.weight$/.test(name));
  return embedding === undefined || typeof width !== 'number' || embedding[1].shape[1] === width;
}
