/** Options of pipelines as JSON Schema: for forms, servers and their descriptions. What JSON cannot hold is left out. */
import * as z from 'zod';
import type { OptionName } from './options.ts';
import type { ResolvedOption, ResolvedOptions } from './pipeline-options.ts';

/** A JSON Schema (draft 2020-12). */
export type JsonSchema = { readonly [keyword: string]: unknown };

/** The schema of what a pipeline's `generate` takes. */
export interface OptionsSchema extends JsonSchema {
  readonly $schema: string;
  readonly title: string;
  readonly type: 'object';
  readonly properties: Readonly<Partial<Record<OptionName, JsonSchema>>>;
  readonly required: readonly OptionName[];
  readonly additionalProperties: false;
}

/** @param pipeline its name */
export function jsonSchemaOf(pipeline: string, options: ResolvedOptions): OptionsSchema {
  const properties: Partial<Record<OptionName, JsonSchema>> = {};
  const required: OptionName[] = [];
  for (const option of options.values()) {
    const schema = valueSchema(option.type);
    if (!schema) continue;
    const { name } = option;
    if (option.required) required.push(name);
    properties[name] = {
      ...(option.required ? schema : orNull(schema)),
      description: describe(option),
      ...(option.default === undefined ? {} : { default: option.default }),
    };
  }
  const both = options.has('sigmas') && options.has('timesteps');
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: pipeline,
    type: 'object',
    properties,
    required,
    additionalProperties: false,
    ...(both ? { not: { properties: { sigmas: aList, timesteps: aList }, required: ['sigmas', 'timesteps'] } } : {}),
  };
}

const aList = { type: 'array' };

/** What JSON can hold of a type; undefined if that is nothing. */
function valueSchema(type: z.ZodType): JsonSchema | undefined {
  const { $schema: _, ...schema } = z.toJSONSchema(type, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema._zod.def.type === 'custom') jsonSchema.not = {};
    },
  });
  return possible(schema as JsonSchema);
}

/** Without alternatives that nothing fits. */
function possible(schema: JsonSchema): JsonSchema | undefined {
  const { anyOf, items, not } = schema as { anyOf?: JsonSchema[]; items?: JsonSchema; not?: JsonSchema };
  if (not) return undefined;
  if (items) {
    const item = possible(items);
    return item && { ...schema, items: item };
  }
  if (!anyOf) return schema;
  const alternatives = anyOf.map(possible).filter((alternative) => alternative !== undefined);
  if (alternatives.length === 0) return undefined;
  return alternatives.length === 1 ? alternatives[0] : { ...schema, anyOf: alternatives };
}

/** Null is the same as nothing. */
function orNull(schema: JsonSchema): JsonSchema {
  const { type, enum: values, anyOf } = schema as { type?: string; enum?: unknown[]; anyOf?: JsonSchema[] };
  if (anyOf) return { ...schema, anyOf: [...anyOf, { type: 'null' }] };
  return { ...schema, type: [type, 'null'], ...(values ? { enum: [...values, null] } : {}) };
}

/** What an option is for, and what a loaded model will add. */
export function describe({ option, unknown, idle, unused }: ResolvedOption): string {
  const because = unused ?? idle?.because;
  const notes = [...unknown, ...(because === undefined ? [] : [`no effect ${because}`])];
  return [option.help, ...notes.map((note) => `(${note})`)].join(' ');
}
