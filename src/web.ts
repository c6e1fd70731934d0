/**
 * `deja-dit/web`: the engine for pages and their workers.
 *
 * This file is a public face and nothing else.
 */
import './web/symbols.ts';

export { disableCache, type EnableCacheOptions, enableCache } from './api/enable-cache.ts';
export { type Summarized, strify, summary } from './api/summary.ts';
export type { CacheConfig, CacheOptions } from './cache/config/cache-config.ts';
export type { RequestCacheOptions } from './cache/run/make-caches.ts';
export { DejaDitError, type ErrorCode } from './errors/errors.ts';
export { setWarningHandler, type WarningHandler } from './errors/warnings.ts';
export { imageGrid } from './images/grid.ts';
export { Image } from './images/image.ts';
export type { ImageMetadata } from './images/metadata.ts';
export type { Video } from './images/video.ts';
export { mae, mse, psnr, rmse } from './metrics/pixel-errors.ts';
export type { ForwardInputs, InputValue } from './models/inputs.ts';
export type { TransformerModel } from './models/transformer-model.ts';
export { type LoraOptions, type LoraTarget, unloadLora } from './pipelines/lora/lora.ts';
export type { Pipeline, PipelineTraits } from './pipelines/pipeline.ts';
export { supportedPipelines } from './pipelines/registry.ts';
export type { GenerateOptions, GenerateResult, StepEvent, Timings } from './pipelines/schema/options.ts';
export { optionsSchema } from './pipelines/schema/options-schema.ts';
export { quantize } from './quantize/quantize.ts';
export type { Backend, DeviceTensor, Executable, Live } from './runtime/backend.ts';
export { type CreateBackendOptions, createBackend } from './runtime/create-backend.ts';
export { type Assets, setAssets } from './runtime/ort-web/assets.ts';
export { ProgramCache, type ProgramCacheOptions } from './runtime/program-cache.ts';
export type { DType, TypedArray } from './tensor/dtype.ts';
export { Generator } from './tensor/generator.ts';
export { type Shape, Tensor } from './tensor/tensor.ts';
export {
  DiffusionPipeline,
  type FromPretrainedOptions,
  type LoadModelOptions,
  loadLora,
  loadModel,
} from './web/load.ts';
export { imageFrom, type PictureSource, toBlob, toImageBitmap, toImageData } from './web/pictures.ts';
export type { DownloadProgress } from './web/sources/download.ts';
export { dropped } from './web/sources/local-files.ts';
export type { ModelSource, SourceOptions } from './web/sources/model-source.ts';
export { keptModels, removeModel } from './web/sources/store.ts';
