/**
 * `deja-dit/models`: what a model family is written with. How is in `docs/adding-a-model.md`.
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
} from './models/definition.ts';
export { defineModel, type GraphModelDefinition, type GraphModelFamily } from './models/graph-model.ts';
export type { ForwardInputs, InputSpec, InputValue, TensorInput } from './models/inputs.ts';
export { registerTransformer } from './models/registry.ts';
export * from './nn/attention/attention.ts';
export * from './nn/attention/attention-mask.ts';
export * from './nn/conv.ts';
export * from './nn/embeddings.ts';
export * from './nn/linear.ts';
export * from './nn/modulation.ts';
export { layer, Module } from './nn/module.ts';
export * from './nn/norms.ts';
export * from './nn/patches.ts';
export * from './nn/rotary.ts';
export * from './nn/sincos-positions.ts';
export * from './nn/stream-blocks.ts';
export { dims, lastDims, Tensor } from './tensor/tensor.ts';
