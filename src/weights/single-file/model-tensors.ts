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

export interface WantedModel {
  /** Of a pipeline: `transformer`, `vae`, `text_encoder_2`. */
  component: string;
  /** Its `config.json`, which tells text encoders apart. */
  model: Readonly<Record<string, unknown>>;
  /** The file, for error messages. */
  path: string;
}

/**
 * The tensors of one model, without their prefix. A file without any prefix holds one model.
 * @throws DejaDitError NOT_FOUND if the file holds other models only
 */
export function modelTensors(tensors: Tensors, wanted: WantedModel): Tensors {
  const groups = groupByPrefix(tensors);
  const found = prefixed(groups, wanted) ?? groups.get('');
  if (found) return found.tensors;
  const message = `has no ${wanted.component}, only ${[...groups.keys()].join(', ')}`;
  throw new DejaDitError('NOT_FOUND', message, { path: wanted.path });
}

/** Whether a file of several models has this one. */
export function hasModel(tensors: Tensors, wanted: WantedModel): boolean {
  return prefixed(groupByPrefix(tensors), wanted) !== undefined;
}

/** Whether a file holds one model, under no prefix. */
export function isAlone(tensors: Tensors): boolean {
  const groups = groupByPrefix(tensors);
  return groups.size === 1 && groups.has('');
}

/** All models of a file. */
export function modelsIn(tensors: Tensors): ModelTensors[] {
  return [...groupByPrefix(tensors).values()];
}

/** The largest group that may be the model. */
function prefixed(
  groups: ReadonlyMap<string, ModelTensors>,
  { component, model }: WantedModel,
): ModelTensors | undefined {
  const kind = component.replace(/_\d+$/, '');
  const own = [...groups.values()].filter((group) => group.kind === kind && isLike(group, model));
  return own.toSorted((a, b) => b.tensors.size - a.tensors.size)[0];
}

/** Of one model, under the names that follow its prefix. */
export interface ModelTensors {
  readonly kind: string | undefined;
  readonly prefix: string;
  readonly tensors: Map<string, TensorInfo>;
}

/** By prefix; those without one under `''`. */
function groupByPrefix(tensors: Tensors): Map<string, ModelTensors> {
  const groups = new Map<string, ModelTensors>();
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
function isLike({ kind, prefix, tensors }: ModelTensors, model: Readonly<Record<string, unknown>>): boolean {
  if (kind !== 'text_encoder') return true;
  const className = String((model['architectures'] as readonly unknown[] | undefined)?.[0] ?? '');
  const [, word] = encoderWords.find(([pattern]) => pattern.test(className)) ?? [];
  if (word && prefix.startsWith('text_encoders.') && !word.test(prefix)) return false;
  const width = model['hidden_size'] ?? model['d_model'];
  const embedding = [...tensors].find(([name]) => /(^|\.)(token_embedding|shared|embed_tokens)\.weight$/.test(name));
  return embedding === undefined || typeof width !== 'number' || embedding[1].shape[1] === width;
}
