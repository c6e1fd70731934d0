/** What a pipeline takes, as a value that other programs can read. */
import { DejaDitError, suggest } from '../../errors/errors.ts';
import type { Pipeline } from '../pipeline.ts';
import { findPipeline, supportedPipelines } from '../registry.ts';
import { jsonSchemaOf, type OptionsSchema } from './json-schema.ts';
import { resolveOptions } from './pipeline-options.ts';

/**
 * The options of `generate` as a JSON Schema (draft 2020-12) with defaults, ranges and descriptions: it takes and refuses what `generate`
 * does. Options that JSON cannot hold (tensors, functions, signals) are left out.
 * @param pipeline a loaded one, with the defaults of its checkpoint and the bounds of its model; or a class name, where what a model
 *   determines is only described
 * @throws DejaDitError `NOT_FOUND` for a class that is not supported
 * @example
 * const schema = await optionsSchema('FluxPipeline');
 * console.log(schema.properties.numInferenceSteps); // { type: ['integer', 'null'], minimum: 1, maximum: 10000, default: 28, … }
 */
export function optionsSchema(pipeline: Pipeline): OptionsSchema;
export function optionsSchema(className: string): Promise<OptionsSchema>;
export function optionsSchema(pipeline: Pipeline | string): OptionsSchema | Promise<OptionsSchema> {
  return typeof pipeline === 'string' ? schemaOfClass(pipeline) : jsonSchemaOf(pipeline.className, pipeline.options);
}

async function schemaOfClass(className: string): Promise<OptionsSchema> {
  const found = await findPipeline(className);
  if (found) return jsonSchemaOf(className, resolveOptions(found.options));
  throw new DejaDitError('NOT_FOUND', `no pipeline '${className}'; ${suggest(className, supportedPipelines())}`, {
    path: 'optionsSchema',
  });
}
