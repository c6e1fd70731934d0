/**
 * The course of every request: condition, noise, denoise, decode; timed, previewed and abortable. What happens in each is the pipeline's
 * plan.
 */
import type { HasTransformers } from '../../cache/adapters/block-adapter.ts';
import { RequestSessions } from '../../cache/run/request-sessions.ts';
import type { WarningLog } from '../../errors/warnings.ts';
import type { Image } from '../../images/image.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { cut, join } from '../../tensor/slices.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { RequestLoras } from '../lora/lora.ts';
import type { GenerateOptions, GenerateResult } from '../schema/options.ts';
import { type Conditions, guidanceBranches } from './conditions.ts';
import { Denoising } from './denoise.ts';
import { guidedBy } from './guidance.ts';
import { decodeImages, decodeVideos, initialLatents } from './latents.ts';
import { checkMemory, framesOfLatents, type Workload } from './memory.ts';
import { NoiseSource } from './noise.ts';
import type { Pictures, Plan, Start } from './plan.ts';

/** On several ranks all draw the same. */
async function drawSeed({ programs: { backend } }: TransformerModel): Promise<number> {
  const seed = Math.floor(Math.random() * 2 ** 32);
  return (await backend.agree?.(seed)) ?? seed;
}

/** What every pipeline has. */
export interface CoreParts {
  readonly transformer: TransformerModel;
  readonly vae: Autoencoder;
  readonly scheduler: Scheduler;
}

/** A request as the pipeline has read it. */
export interface RequestContext extends HasTransformers {
  plan: Plan;
  parts: CoreParts;
  /** Complete and checked. */
  settings: GenerateOptions;
  /** Of pipelines that draw from a prompt. */
  conditions: Conditions | undefined;
  /** Pictures of the request. */
  batch: number;
  /** Of classifier-free guidance. */
  scale: number;
  output: 'images' | 'videos';
  onStep: GenerateOptions['onStep'] | undefined;
  warnings: WarningLog;
}

/**
 * A request under way, advanced step by step: encoded and with its noise drawn when it is there. Its owner takes steps until it is
 * `done`, then asks for the result, and ends it in any case.
 * @example
 * const request = await pipe.begin({ prompt: 'red apple' });
 * try {
 *   while (!request.done) await request.step();
 *   const { images } = await request.finish();
 * } finally {
 *   request.end();
 * }
 */
export class PipelineRequest {
  private constructor(
    private readonly context: RequestContext,
    /** Its steps, for who takes them together with those of others. */
    readonly denoising: Denoising,
    private readonly rest: {
      noise: NoiseSource;
      sessions: RequestSessions;
      times: { begin: number; encoded: number };
      end(): void;
    },
  ) {}

  /** @param onEnd called once, when the request ends */
  static async begin(context: RequestContext, onEnd: () => void): Promise<PipelineRequest> {
    const { plan, parts, settings, batch, warnings, transformers } = context;
    const { height = 0, width = 0 } = settings;
    const { transformer, vae: autoencoder } = parts;
    const workload = {
      transformer,
      autoencoder,
      height,
      width,
      ...plan.size,
      tokens: plan.tokens,
      frames: plan.frames,
    };
    checkMemory(workload, { batch, samplesPerPicture: plan.jointCalls ? 2 : 1, maxMemory: settings.maxMemory });
    warnOfIdleRanks(context, workload);
    const sessions = new RequestSessions({ transformers }, { cache: settings.cache, warnings });
    const loras = new RequestLoras(transformers, settings.loras);
    const end = () => {
      loras.dispose();
      onEnd();
    };
    try {
      const noise = settings.generator
        ? new NoiseSource({ generator: settings.generator }, batch)
        : new NoiseSource({ seed: settings.seed ?? (await drawSeed(transformer)) }, batch);
      const begin = performance.now();
      const branches = await encode(context);
      const encoded = performance.now();
      const scheduler = parts.scheduler.clone();
      scheduler.setTimesteps(plan.schedule);
      const start = (await plan.start?.(noise, scheduler)) ?? {
        latents: initialLatents(scheduler, { ...plan, noise, given: settings.latents }),
      };
      const denoising = new Denoising({
        ...plan,
        ...withPictures(plan, start),
        modelAt: plan.modelAt ?? (() => transformer),
        scheduler,
        branches,
        openSession: (model, about) => sessions.open(model, { ...about, loras: loras.of(model) }),
        preview: plan.preview ?? ((latents) => preview(context, latents)),
        combine: dropReferences(plan.combine ?? guidedBy(context.scale), start),
        generator: noise,
        guidedAt: guidedWithin(plan, settings),
        onStep: context.onStep,
        signal: settings.signal,
      });
      return new PipelineRequest(context, denoising, { noise, sessions, times: { begin, encoded }, end });
    } catch (error) {
      end();
      throw error;
    }
  }

  /** Whether all steps were taken. */
  get done(): boolean {
    return this.denoising.done;
  }

  /** Takes the next step. @throws DejaDitError `ABORTED` if the signal fired */
  step(): Promise<void> {
    return this.denoising.step();
  }

  /** What the steps came to. */
  async finish(): Promise<GenerateResult> {
    const { settings, warnings } = this.context;
    const { noise, sessions, times } = this.rest;
    const { latents, times: steps } = this.denoising;
    const denoised = performance.now();
    // What caches remember goes now: decoding may need the memory.
    this.denoising.end();
    const pictures = settings.outputType === 'latent' ? {} : await decode(this.context, latents, noise);
    const end = performance.now();
    return {
      images: [],
      videos: [],
      ...pictures,
      latents,
      seed: noise.seed,
      timings: {
        encode: times.encoded - times.begin,
        denoise: denoised - times.encoded,
        decode: end - denoised,
        total: end - times.begin,
        steps,
      },
      summary: sessions.summary,
      warnings: warnings.messages,
    };
  }

  /** Gives back what the request holds; to be called however it ends, once or more often. */
  end(): void {
    this.denoising.end();
    this.rest.end();
  }
}

function encode({ plan, conditions, settings }: RequestContext) {
  if (plan.encode) return plan.encode();
  return guidanceBranches(conditions!, settings.numImages!, async (condition, isNegative) =>
    plan.embed!(condition, isNegative),
  );
}

function warnOfIdleRanks({ settings, batch: images, warnings }: RequestContext, size: Workload): void {
  const { autoencoder, width, height } = size;
  const frames = framesOfLatents(autoencoder, size.frames);
  if (settings.outputType === 'latent') return;
  if (autoencoder.leavesRanksIdle({ images, height, width, frames })) {
    const { size: tile } = autoencoder.traits.tiles;
    warnings.add(
      `parallelVae has no effect on one picture of ${width} x ${height}: it is no larger than a tile of ${tile} pixels, which one rank works on; ask for a larger one, or for several`,
    );
  }
}

/** When there is guidance: where the plan has it, within the interval asked for. */
function guidedWithin(
  { guidedAt }: Plan,
  { guidanceInterval, numInferenceSteps: steps }: GenerateOptions,
): Plan['guidedAt'] {
  if (!guidanceInterval) return guidedAt;
  const [from, to] = guidanceInterval;
  return (timestep, index) => index >= from * steps! && index < to * steps! && (guidedAt?.(timestep, index) ?? true);
}

/** The inputs of a plan's calls, with what the start brings. */
function withPictures({ inputsAt }: Plan, start: Start): Start & Pick<Plan, 'inputsAt'> {
  const { references, referencesAt, channels, inputs = {} } = start;
  const { channelAxis = start.latents.shape.length === 3 ? 2 : 1 } = start;
  const perSample = (tensor: Tensor, latents: Tensor) =>
    join(Array<Tensor>(latents.dim(0) / tensor.dim(0)).fill(tensor), 0);
  return {
    ...start,
    inputsAt: (latents, timestep, branch) => {
      const besides = channels && join([latents, perSample(channels, latents)], channelAxis);
      const drawn = besides ?? latents;
      const seen = references ? [perSample(references, latents)] : [];
      const whole = join(referencesAt === 'before' ? [...seen, drawn] : [drawn, ...seen], 1);
      const times = latents.dim(0) / start.latents.dim(0);
      const own = Object.entries(inputs).map(
        ([name, tensor]) => [name, join(Array<Tensor>(times).fill(tensor), 0)] as const,
      );
      return { ...inputsAt(whole, timestep, branch), ...Object.fromEntries(own) };
    },
  };
}

function dropReferences(
  combine: NonNullable<Plan['combine']>,
  { references, referencesAt, latents }: Start,
): typeof combine {
  if (!references) return combine;
  const tokens = latents.dim(1);
  const first = (output: Tensor) => (referencesAt === 'before' ? output.dim(1) - tokens : 0);
  return (outputs, timestep, sample) =>
    combine(
      outputs.map((output) => cut(output, { axis: 1, from: first(output), to: first(output) + tokens })),
      timestep,
      sample,
    );
}

async function decode(
  { plan, parts: { vae }, settings: { signal }, output }: RequestContext,
  latents: Tensor,
  noise: NoiseSource,
): Promise<Pictures> {
  if (plan.decode) return plan.decode(latents, signal, noise);
  const unpacked = plan.latents.unpack(latents);
  if (output === 'images') return { images: await decodeImages(vae, unpacked, signal) };
  return { videos: await decodeVideos(vae, unpacked, { fps: plan.fps!, signal }) };
}

async function preview({ plan, parts: { vae }, output }: RequestContext, latents: Tensor): Promise<Image[]> {
  if (output === 'images' && plan.decode) return (await plan.decode(latents)).images ?? [];
  const unpacked = plan.latents.unpack(latents);
  if (output === 'images') return decodeImages(vae, unpacked);
  const videos = await decodeVideos(vae, cut(unpacked, { axis: 2, from: 0, to: 1 }), { fps: plan.fps! });
  return videos.flatMap(({ frames }) => frames);
}
