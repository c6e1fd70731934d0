/**
 * deja-dit: Diffusion Transformers in TypeScript, fast by re-using what earlier denoising steps computed.
 *
 * This file is the public API and nothing else.
 */

export {
  type Cacheable,
  disableCache,
  type EnableCacheOptions,
  enableCache,
  refreshContext,
} from './api/enable-cache.ts';
export { loadConfigs } from './api/load-configs.ts';
export { type Summarized, strify, summary } from './api/summary.ts';
export { setAttnBackend } from './cache/adapters/attn-backend.ts';
export { BlockAdapter, type BlockAdapterOptions, getAdapter } from './cache/adapters/block-adapter.ts';
export type { BlockGroup } from './cache/adapters/block-group.ts';
export { supportedMatrix } from './cache/adapters/supported-matrix.ts';
export type { CacheConfig, CacheOptions, DBCacheConfig, DBPruneConfig } from './cache/config/cache-config.ts';
export { blockRange, cacheType } from './cache/config/cache-type.ts';
export type { CalibratorConfig, CalibratorOptions } from './cache/config/calibrator-config.ts';
export type { ParamsModifier } from './cache/config/params-modifier.ts';
export { stepsMask } from './cache/config/steps-mask.ts';
export type { CacheStats, CallRecord } from './cache/report/stats.ts';
export type { RequestCacheOptions } from './cache/run/make-caches.ts';
export { DejaDitError, type ErrorCode } from './errors/errors.ts';
export { setWarningHandler, type WarningHandler } from './errors/warnings.ts';
export { imageGrid } from './images/grid.ts';
export { Image } from './images/image.ts';
export type { ImageMetadata } from './images/metadata.ts';
export { readMetadata } from './images/read-metadata.ts';
export { type SaveVideoOptions, Video } from './images/video.ts';
export { comparePaths, type MetricName, metricNames } from './metrics/compare.ts';
export { mae, mse, psnr, rmse } from './metrics/pixel-errors.ts';
export { ssim } from './metrics/ssim.ts';
export { AutoModel, loadModel } from './models/auto-model.ts';
export { Autoencoder } from './models/autoencoders/autoencoder.ts';
export type { ModelOutput } from './models/definition.ts';
export { defineTransformer, type TransformerDefinition } from './models/definition.ts';
export { defineModel, GraphModel } from './models/graph-model.ts';
export type { ForwardInputs, InputValue } from './models/inputs.ts';
export type { LoadOptions } from './models/load/load-options.ts';
export { loadSingleFile, type SingleFileOptions } from './models/load/load-single-file.ts';
export { registerTransformer, supportedModels, supportedTransformers } from './models/registry.ts';
export {
  type ForwardSession,
  type SessionFactory,
  type SessionOptions,
  TransformerModel,
} from './models/transformer-model.ts';
export { DiffusionPipeline, type FromPretrainedOptions } from './pipelines/diffusion-pipeline.ts';
export { type LoraOptions, type LoraTarget, loadLora, unloadLora } from './pipelines/lora/lora.ts';
export type { Pipeline, PipelineTraits } from './pipelines/pipeline.ts';
export { registerPipeline, supportedPipelines } from './pipelines/registry.ts';
export type { PipelineRequest } from './pipelines/request/request.ts';
export type { JsonSchema, OptionsSchema } from './pipelines/schema/json-schema.ts';
export type { GenerateOptions, GenerateResult, StepEvent, Timings } from './pipelines/schema/options.ts';
export { optionsSchema } from './pipelines/schema/options-schema.ts';
export type { ResolvedOption, ResolvedOptions } from './pipelines/schema/pipeline-options.ts';
export { type ConvertOptions, convertCheckpoint } from './quantize/checkpoint/convert-checkpoint.ts';
export { saveQuantized } from './quantize/checkpoint/save-checkpoint.ts';
export type { QuantizeConfig, QuantizeOptions } from './quantize/config/config.ts';
export { plainQuantTypes, type QuantType } from './quantize/config/quant-type.ts';
export { type Quantizable, type QuantizeCallOptions, quantize } from './quantize/quantize.ts';
export {
  type ComponentReport,
  type QuantizedLayer,
  type QuantizeReport,
  summarizeReport,
} from './quantize/report.ts';
export type { Backend, DeviceTensor, Executable, Live } from './runtime/backend.ts';
export { type CreateBackendOptions, createBackend } from './runtime/create-backend.ts';
export { ProgramCache, type ProgramCacheOptions, type ProgramCacheStats } from './runtime/program-cache.ts';
export { createScheduler } from './schedulers/create-scheduler.ts';
export type { Scheduler } from './schedulers/scheduler.ts';
export type { DType, TypedArray } from './tensor/dtype.ts';
export { Generator } from './tensor/generator.ts';
export { type Shape, Tensor } from './tensor/tensor.ts';
export { loadTokenizer, Tokenizer } from './tokenizers/tokenizer.ts';
export { bundledModel } from './weights/bundled-model.ts';
export { type DownloadProgress, type ResolveOptions, resolveModel } from './weights/hub/hub.ts';
export type { OffloadOptions } from './weights/offload/options.ts';
export type { OffloadSummary } from './weights/offload/weight-buckets.ts';
export { readSafetensors, readSafetensorsHeader } from './weights/safetensors/safetensors.ts';
export { writeSafetensors } from './weights/safetensors/write-safetensors.ts';
