/** Which transformers can be cached, and how, as a table. */
import { DejaDitError } from '../../errors/errors.ts';
import { markdownTable } from '../../metrics/markdown-table.ts';
import { ConfigReader } from '../../models/config-reader.ts';
import type { Transformer } from '../../models/definition.ts';
import { findTransformer, supportedTransformers } from '../../models/registry.ts';
import { groupsOf } from './block-adapter.ts';
import { sectionsOf } from './block-group.ts';

/**
 * A Markdown table of all registered transformers: their cached block lists (`a + b` share one decision per step) with forward
 * patterns, and whether they are called once per guidance branch. All of them take DBCache, DBPrune and EasyCache.
 * @example
 * console.log(await supportedMatrix());
 */
export async function supportedMatrix(): Promise<string> {
  const classNames = supportedTransformers().sort();
  const rows = await Promise.all(
    classNames.map(async (className) => {
      const model = await withDefaults(className);
      if (!model) return [className, 'as its config says', ''];
      const groups = groupsOf(sectionsOf(model)).map(({ lists }) =>
        lists.map(({ name, pattern }) => `${name} (${pattern})`).join(' + '),
      );
      return [className, groups.join(', '), model.separateCfg ? 'yes' : 'no'];
    }),
  );
  return markdownTable(['transformer', 'block lists (forward pattern)', 'separate CFG'], rows);
}

/** The transformer that an empty config makes; undefined where the config decides what it is. */
async function withDefaults(className: string): Promise<Transformer | undefined> {
  const family = await findTransformer(className);
  try {
    return family?.configure(new ConfigReader({}, className));
  } catch (error) {
    if (error instanceof DejaDitError && error.path === className) return undefined;
    throw error;
  }
}
