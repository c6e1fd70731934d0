/**
 * `deja-dit/models`: what a model family and a pipeline are written with. How is in `docs/adding-a-model.md` and
 * `docs/adding-a-pipeline.md`.
 *
 * This file is a public face and nothing else.
 */
export * from './graph/ops.ts';
export { SymbolicTensor } from './graph/symbolic.ts';
export { ConfigReader } from './models/config-reader.ts';
export {
  type BlockContext,
  type BlockList,
  defineTransformer,
  type ForwardPattern,
  type Prepared,
  type State,
  type Statics,
  type TransformerDefinition,
  type TransformerFamily,
  type TransformerTraits,
} from './models/definition.ts';
export { defineModel, type GraphModelDefinition, type GraphModelFamily } from './models/graph-model.ts';
export type { ForwardInputs, InputSpec, InputValue, TensorInput } from './models/inputs.ts';
export { registerTransformer } from './models/registry.ts';
export * from './nn/attention/attention.ts';
export * from './nn/attention/attention-mask.ts';
export * from './nn/conv.ts';
export * from './nn/embeddings.ts';
export * from './nn/flux-blocks.ts';
export * from './nn/linear.ts';
export * from './nn/modulation.ts';
export { layer, Module } from './nn/module.ts';
export * from './nn/norms.ts';
export * from './nn/patches.ts';
export * from './nn/position-table.ts';
export * from './nn/rotary.ts';
export * from './nn/sincos-positions.ts';
export * from './nn/stream-blocks.ts';
export {
  autoencoder,
  optional,
  type Part,
  scheduler,
  textEncoder,
  transformer,
} from './pipelines/components.ts';
export { definePipeline, type PipelineDefinition, type PlanRequest } from './pipelines/define-pipeline.ts';
export { registerPipeline } from './pipelines/registry.ts';
export type { Condition } from './pipelines/request/conditions.ts';
export { guide, guidedBy, guideKeepingNorm } from './pipelines/request/guidance.ts';
export { decodeImages, perSample, rawLatents } from './pipelines/request/latents.ts';
export { packedLatents } from './pipelines/request/packing.ts';
export { type LatentLayout, type Plan, plainLatents, type Start } from './pipelines/request/plan.ts';
export { flowSchedule, givenSchedule, lateTimesteps } from './pipelines/request/schedule.ts';
export { encodePictures, loadImages, loadPixels, startFromImages } from './pipelines/request/start-images.ts';
export {
  type EncodeTextOptions,
  embedMasked,
  equalLengths,
  padTexts,
  TextEncoder,
} from './pipelines/request/text-encoder.ts';
export { fromModel, type PipelineOptions } from './pipelines/schema/pipeline-options.ts';
export { edges, textLength } from './pipelines/schema/sizes.ts';
export { dims, floatTensor, lastDims, Tensor } from './tensor/tensor.ts';
