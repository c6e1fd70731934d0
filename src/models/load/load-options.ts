/** Options that whatever loads a model takes. */
import * as z from 'zod';
import { type ArgumentShape, abortSignal, anyObject } from '../../errors/arguments.ts';
import type { OffloadOptions } from '../../weights/offload/options.ts';
import type { WeightStoreOptions } from '../../weights/weight-store.ts';
import { type ComputeDtype, computeDtypes } from '../compute-dtype.ts';
import { type ProgramOptions, programShape } from './programs.ts';

export interface LoadOptions extends ProgramOptions {
  /** `fp16` picks `diffusion_pytorch_model.fp16.safetensors`. */
  variant?: string | undefined;
  weightDtype?: WeightStoreOptions['weightDtype'];
  /**
   * What transformers compute in; weights are held in it too, those of text encoders as well. What is known to need more stays float32.
   * Default: float16 where the backend has it (`webgpu` on most GPUs), else float32.
   */
  computeDtype?: ComputeDtype | undefined;
  /**
   * For a transformer or text encoder larger than memory: reads the weights of its blocks from the files whenever they are needed,
   * while the blocks before are computed. `true` holds one block and reads one ahead. `weightDtype` is then `stored` by default,
   * and about the other weights only.
   */
  layerwiseOffload?: boolean | OffloadOptions | undefined;
  /** Loads a vision-language model without what it sees with. Default: with it, where its config has it. */
  textOnly?: boolean | undefined;
  /**
   * Leaves weights in their files until they are needed, as `layerwiseOffload` does in any case. Models on several ranks
   * (`parallelismConfig`) then read for each rank only the parts that it computes with; alone a model is read by its first call. Default:
   * true for a process of a job of MPI, else false.
   */
  deferWeights?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export const loadShape: ArgumentShape<LoadOptions> = {
  ...programShape,
  variant: z.string(),
  weightDtype: z.enum(['float32', 'stored']),
  computeDtype: z.enum(computeDtypes),
  layerwiseOffload: z.union([z.boolean(), anyObject], 'expected true, false or an object of options'),
  textOnly: z.boolean(),
  deferWeights: z.boolean(),
  signal: abortSignal,
};

/** Diffusers' options that are set in another way here. */
export const elsewhere: Readonly<Record<string, string>> = {
  device: "what computes is backend: 'cpu', 'wasm', 'webgpu' or 'auto'",
  device_map: "what computes is backend: 'cpu', 'wasm', 'webgpu' or 'auto'; larger than memory: layerwiseOffload",
  torch_dtype:
    "use computeDtype: 'float32' or 'float16'; weightDtype: 'stored' holds weights as they are in the file, quantize() in fewer bits",
  torchDtype:
    "use computeDtype: 'float32' or 'float16'; weightDtype: 'stored' holds weights as they are in the file, quantize() in fewer bits",
  dtype:
    "use computeDtype: 'float32' or 'float16'; weightDtype: 'stored' holds weights as they are in the file, quantize() in fewer bits",
  quantType: 'load the model, then quantize(model, { quantType })',
  quantizeConfig: 'load the model, then quantize(model, { quantType })',
  quantization_config: 'load the model, then quantize(model, { quantType })',
  cache_dir: 'use cacheFolder',
  local_files_only: 'use offline',
};
