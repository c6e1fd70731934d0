/** The options of a model as a client of this server fills them in: what the pipeline takes, as far as requests may bring it. */
import { catalogue, optionGroups } from '../../pipelines/schema/catalogue.ts';
import type { JsonSchema, OptionsSchema } from '../../pipelines/schema/json-schema.ts';
import type { OptionName } from '../../pipelines/schema/options.ts';
import { type PictureOption, pictureOptions } from '../jobs/job.ts';
import { plainNames } from './plain-options.ts';

export interface OptionsForm {
  /** A JSON Schema. Pictures are texts in base64, and say so. */
  options: OptionsSchema;
  /** The same options by what they are about, in the order in which a form shows them. */
  groups: { title: string; options: OptionName[] }[];
}

export function optionsForm(schema: OptionsSchema): OptionsForm {
  const names = plainNames.filter((name) => schema.properties[name] !== undefined);
  const properties = Object.fromEntries(
    names.map((name) => {
      const property = schema.properties[name]!;
      return [name, (pictureOptions as readonly string[]).includes(name) ? picture(property) : property];
    }),
  ) as Record<OptionName | PictureOption, JsonSchema>;
  const groups = optionGroups.map((title) => ({
    title,
    options: names.filter((name) => catalogue[name].group === title),
  }));
  return { options: { ...schema, properties }, groups: groups.filter(({ options }) => options.length > 0) };
}

/** To a pipeline a text is the path of a file, which a request cannot name. */
function picture(schema: JsonSchema): JsonSchema {
  const { type, anyOf, items } = schema as { type?: unknown; anyOf?: JsonSchema[]; items?: JsonSchema };
  return {
    ...schema,
    ...([type].flat().includes('string') ? { contentEncoding: 'base64', contentMediaType: 'image/*' } : {}),
    ...(anyOf ? { anyOf: anyOf.map(picture) } : {}),
    ...(items ? { items: picture(items) } : {}),
  };
}
