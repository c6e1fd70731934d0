/** The course of every request: condition, noise, denoise, decode; timed, previewed and abortable. What happens in each is the pipeline's plan. */
import type { HasTransformers } from '../../cache/adapters/block-adapter.ts';
import { RequestSessions } from '../../cache/run/request-sessions.ts';
import type { WarningLog } from '../../errors/warnings.ts';
import type { Image } from '../../images/image.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { RequestLoras } from '../lora/lora.ts';
import type { GenerateOptions, GenerateResult } from '../schema/options.ts';
import { type DenoiseOptions, denoise, type GuidanceBranch } from './denoise.ts';
import { checkMemory, type Workload } from './memory.ts';
import { NoiseSource } from './noise.ts';

/** What was asked for, complete and checked, and what there is to say about it. */
export interface GenerateRequest<Settings extends GenerateOptions = GenerateOptions> {
  readonly settings: Settings;
  readonly warnings: WarningLog;
}

export interface Start {
  /** With its schedule laid out. */
  scheduler: Scheduler;
  latents: Tensor;
  /** Times to run, if not all of the scheduler's. */
  timesteps?: readonly number[];
}

export interface Plan extends Pick<DenoiseOptions, 'modelAt' | 'jointCalls' | 'inputsAt' | 'combine'> {
  /** Pictures of the request. */
  batch: number;
  workload: Workload;
  /** Texts to guidance branches, the positive one first. */
  encode(): Promise<GuidanceBranch[]>;
  start(noise: NoiseSource): Start | Promise<Start>;
  decode(latents: Tensor, signal?: AbortSignal): Promise<Partial<Pick<GenerateResult, 'images' | 'videos'>>>;
  /** Default: the images that `decode` returns. */
  preview?(latents: Tensor): Promise<Image[]>;
}

/** Runs a request of a pipeline. @throws DejaDitError `ABORTED` if the signal fired */
export async function runRequest(
  { settings, warnings }: GenerateRequest,
  { plan, transformers }: { plan: Plan } & HasTransformers,
): Promise<GenerateResult> {
  const { signal, onStep, outputType, maxMemory } = settings;
  const { batch, jointCalls } = plan;
  checkMemory(plan.workload, { batch, samplesPerPicture: jointCalls ? 2 : 1, maxMemory });
  const sessions = new RequestSessions({ transformers }, { cache: settings.cache, warnings });
  const loras = new RequestLoras(transformers, settings.loras);
  const noise = new NoiseSource(settings.seed, batch);
  const begin = performance.now();
  const branches = await plan.encode();
  const encoded = performance.now();
  const { latents, times } = await denoise({
    ...plan,
    ...(await plan.start(noise)),
    branches,
    openSession: (model, about) => sessions.open(model, { ...about, loras: loras.of(model) }),
    preview: plan.preview ?? (async (denoised) => (await plan.decode(denoised)).images ?? []),
    generator: noise,
    onStep,
    signal,
  }).finally(() => loras.dispose());
  const denoised = performance.now();
  const pictures = outputType === 'latent' ? {} : await plan.decode(latents, signal);
  const end = performance.now();
  return {
    images: [],
    videos: [],
    ...pictures,
    latents,
    seed: noise.seed,
    timings: {
      encode: encoded - begin,
      denoise: denoised - encoded,
      decode: end - denoised,
      total: end - begin,
      steps: times,
    },
    summary: sessions.summary,
    warnings: warnings.messages,
  };
}
