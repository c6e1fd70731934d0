/** What a pipeline takes, as a value that other programs can read. */
import { DejaDitError, suggest } from '../../errors/errors.ts';
import { findPipeline, supportedPipelines } from '../diffusion-pipeline.ts';
import type { Pipeline } from '../pipeline.ts';
import { jsonSchemaOf, type OptionsSchema } from './json-schema.ts';
import { resolveOptions } from './pipeline-options.ts';

/**
 * The options of `generate` as a JSON Schema (draft 2020-12) with defaults, ranges and descriptions: it takes and refuses what `generate`
 * does. Options that JSON cannot hold (tensors, functions, signals) are left out.
 * @param pipeline a loaded one, with the defaults of its checkpoint and the bounds of its model; or a class name, where what a model
 *   determines is only described
 * @throws DejaDitError `NOT_FOUND` for a class that is not supported
 * @example
 * const schema = optionsSchema('FluxPipeline');
 * console.log(schema.properties.numInferenceSteps); // { type: ['integer', 'null'], minimum: 1, maximum: 10000, default: 28, … }
 */
export function optionsSchema(pipeline: Pipeline | string): OptionsSchema {
  if (typeof pipeline !== 'string') return jsonSchemaOf(pipeline.className, pipeline.options);
  const found = findPipeline(pipeline);
  if (found) return jsonSchemaOf(pipeline, resolveOptions(found.options));
  throw new DejaDitError('NOT_FOUND', `no pipeline '${pipeline}'; ${suggest(pipeline, supportedPipelines())}`, {
    path: 'optionsSchema',
  });
}
