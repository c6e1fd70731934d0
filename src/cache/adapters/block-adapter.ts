/**
 * Which blocks of which transformers a cache covers. Every registered family brings an answer of its own; a `BlockAdapter` gives
 * another one, or states the same to have it checked. (In cache-dit it also finds blocks inside arbitrary modules and patches
 * them; here a model's definition names its block lists, so there is nothing to search and nothing to patch.)
 */
import { DejaDitError } from '../../errors/errors.ts';
import type { ForwardPattern } from '../../models/definition.ts';
import { TransformerModel } from '../../models/transformer-model.ts';
import type { ParamsModifier } from '../config/params-modifier.ts';
import { type BlockGroup, type Section, sectionsOf } from './block-group.ts';

/** Whatever has transformers by component name: a pipeline. */
export interface HasTransformers {
  readonly transformers: Readonly<Record<string, TransformerModel>>;
}

/** What a cache can be put on: a pipeline, a bare transformer, or an adapter for either. */
export type Cacheable = TransformerModel | HasTransformers;

export interface BlockAdapterOptions {
  /** A pipeline; all its transformers are covered alike. Give this or `model`. */
  pipe?: HasTransformers;
  /** A bare transformer. */
  model?: TransformerModel;
  /**
   * Names of the block lists to cache; lists that share one decision per step, because they run one after the other on the same
   * streams, stand in a list of their own: `[['transformer_blocks', 'single_transformer_blocks']]`. Lists left out are always
   * computed. Default: what the model's family says.
   */
  blockGroups?: readonly (string | readonly string[])[];
  /** Forward pattern of the lists, one for all or one each, to be checked against the model's definition. */
  forwardPattern?: ForwardPattern | readonly ForwardPattern[];
  /** Whether the model is called once per guidance branch. Default: what the model's family says. */
  hasSeparateCfg?: boolean;
  /** Overrides per block group, in the order the groups run. */
  paramsModifiers?: readonly ParamsModifier[];
}

/** One transformer of an adapter. */
export interface AdapterPart {
  /** Component name in its pipeline, or class name. */
  readonly name: string;
  readonly model: TransformerModel;
  readonly sections: readonly Section[];
  readonly hasSeparateCfg: boolean;
}

/**
 * Names the blocks to cache, where the family's own choice is not the right one.
 *
 *   enableCache(new BlockAdapter({ model, blockGroups: ['transformer_blocks'], forwardPattern: 1 }))
 * @example
 * enableCache(new BlockAdapter({ model, blockGroups: ['transformer_blocks'] }), { cacheConfig: {} });
 */
export class BlockAdapter implements HasTransformers {
  readonly transformers: Readonly<Record<string, TransformerModel>>;
  readonly parts: readonly AdapterPart[];
  readonly paramsModifiers: readonly ParamsModifier[] | undefined;
  readonly pipe: HasTransformers | undefined;

  /** @throws DejaDitError INVALID_CONFIG naming the option and what the model's definition says instead */
  constructor(options: BlockAdapterOptions) {
    const { pipe, model, blockGroups, paramsModifiers } = options;
    if ((pipe === undefined) === (model === undefined)) throw invalid('pipe', 'give either a pipe or a model');
    if (blockGroups?.length === 0) throw invalid('blockGroups', 'names no block list, so nothing would be cached');
    this.transformers = pipe?.transformers ?? { [model!.className]: model! };
    this.paramsModifiers = paramsModifiers;
    this.pipe = pipe;
    this.parts = Object.entries(this.transformers).map(([name, transformer]) => {
      const { definition } = transformer;
      const names = blockGroups?.map((group) => (typeof group === 'string' ? [group] : group));
      const sections = sectionsOf(definition, names);
      checkPatterns(transformer, { sections, expected: options.forwardPattern });
      return {
        name,
        model: transformer,
        sections,
        hasSeparateCfg: options.hasSeparateCfg ?? definition.separateCfg,
      };
    });
  }

  /** Per transformer: the block groups that are cached, each with its lists, their forward patterns and its blocks. */
  get blockGroups(): Record<string, readonly BlockGroup[]> {
    return Object.fromEntries(this.parts.map(({ name, sections }) => [name, groupsOf(sections)]));
  }
}

/**
 * The adapter of a pipeline or transformer as its family defines it; an adapter is returned as it is.
 * @throws DejaDitError INVALID_ARGUMENT for anything without transformers
 * @example
 * const adapter = getAdapter(pipe);
 * console.log(adapter.parts.map(({ name, model }) => `${name}: ${model.className}`));
 */
export function getAdapter(target: Cacheable): BlockAdapter {
  if (target instanceof BlockAdapter) return target;
  if (target instanceof TransformerModel) return new BlockAdapter({ model: target });
  const transformers = Object.values((target as Partial<HasTransformers> | undefined)?.transformers ?? {});
  if (transformers.length > 0) return new BlockAdapter({ pipe: target });
  throw new DejaDitError('INVALID_ARGUMENT', 'expected a pipeline, a transformer or a BlockAdapter');
}

export const groupsOf = (sections: readonly Section[]): BlockGroup[] =>
  sections.flatMap((section) => (section.kind === 'group' ? [section.group] : []));

function checkPatterns(
  { className }: TransformerModel,
  { sections, expected }: { sections: readonly Section[]; expected: BlockAdapterOptions['forwardPattern'] },
): void {
  if (expected === undefined) return;
  const lists = groupsOf(sections).flatMap((group) => group.lists);
  const patterns = typeof expected === 'number' ? lists.map(() => expected) : expected;
  if (patterns.length !== lists.length) {
    const names = lists.map(({ name }) => name).join(', ');
    throw invalid('forwardPattern', `${patterns.length} patterns for the ${lists.length} block lists ${names}`);
  }
  for (const [i, { name, pattern }] of lists.entries()) {
    if (patterns[i] === pattern) continue;
    throw invalid('forwardPattern', `${patterns[i]} for ${name}, but ${className} defines it with pattern ${pattern}`);
  }
}

const invalid = (option: string, reason: string) =>
  new DejaDitError('INVALID_CONFIG', reason, { path: `BlockAdapter.${option}` });
