/**
 * What the pipelines of CogVideoX have in common: components, options, and the plan of a video, whose latents are taken frame by frame,
 * [B, F, C, h, w].
 */
import type { WarningLog } from '../../errors/warnings.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { cut } from '../../tensor/slices.ts';
import { dims, floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import type { Condition } from '../request/conditions.ts';
import { guide } from '../request/guidance.ts';
import { perSample } from '../request/latents.ts';
import type { LatentLayout, Plan } from '../request/plan.ts';
import type { EncodeTextOptions, TextEncoder } from '../request/text-encoder.ts';
import { fromModel } from '../schema/pipeline-options.ts';
import { withoutGuidance } from '../schema/sizes.ts';
import { videoRotary } from './rotary.ts';

type Model = { readonly vae: Autoencoder; readonly transformer: TransformerModel };

const edge = (name: 'height' | 'width') => ({
  default: fromModel(
    `the transformer's sample_${name}`,
    ({ vae, transformer }: Model) => transformer.traits.sampleVideo![name] * vae.spatialScale,
  ),
  multipleOf: fromModel(
    'the pixels of a token',
    ({ vae, transformer }: Model) => transformer.traits.patch[1] * vae.spatialScale,
  ),
});

export const cogVideoXComponents = {
  scheduler: scheduler(),
  textEncoder: textEncoder(),
  vae: autoencoder(),
  transformer: transformer('CogVideoXTransformer3DModel'),
};

export const cogVideoXConditions = { texts: ['prompt'], embeds: ['promptEmbeds'] } as const;

export const cogVideoXOptions = {
  numInferenceSteps: { default: 50 },
  height: edge('height'),
  width: edge('width'),
  guidanceScale: { default: 6 },
  useDynamicCfg: { default: false, idle: withoutGuidance },
  maxSequenceLength: { default: 226 },
};

/** What `numFrames` is unless a request says. */
export const trainedFrames = fromModel(
  "the transformer's sample_frames",
  ({ transformer }: Model) => transformer.traits.sampleVideo!.frames,
);

export interface VideoRequest {
  parts: { textEncoder: TextEncoder; transformer: TransformerModel; vae: Autoencoder };
  settings: {
    batch: number;
    height: number;
    width: number;
    numInferenceSteps: number;
    guidanceScale: number;
    useDynamicCfg: boolean;
    maxSequenceLength: number;
  };
  reading: Partial<EncodeTextOptions>;
  /** Of pictures. */
  numFrames: number;
  /** Of the latents that are drawn. */
  channels: number;
  warnings: WarningLog;
}

/** Latent frames of a video, as many as are shown and as the model draws. */
export function latentFramesOf(numFrames: number, { vae, transformer }: Model): { shown: number; drawn: number } {
  const [patchFrames] = transformer.traits.patch;
  const shown = 1 + Math.floor((numFrames - 1) / (vae.traits.temporalScale ?? 1));
  // Version 1.5 draws whole patches in time, and what is too much at the beginning is left out.
  return { shown, drawn: Math.ceil(shown / patchFrames) * patchFrames };
}

/** The plan of a request, from noise alone. */
export function planVideo({ parts, settings, reading, numFrames, channels, warnings }: VideoRequest) {
  const { textEncoder, transformer, vae } = parts;
  const { batch, height, width, maxSequenceLength } = settings;
  const { patch, sampleVideo, rotaryWidth, takesOffset } = transformer.traits;
  const [rows, columns] = [height / vae.spatialScale, width / vae.spatialScale];
  const { shown, drawn } = latentFramesOf(numFrames, parts);
  const frames = vae.traits.decodedFrames?.(shown) ?? 1 + (shown - 1) * (vae.traits.temporalScale ?? 1);
  if (frames !== numFrames)
    warnings.add(
      `numFrames ${numFrames} becomes ${frames}, as latents are decoded in chunks; 1 and a multiple of 8 fit`,
    );
  const grid = [drawn / patch[0], rows / patch[1], columns / patch[2]] as const;
  const spreadOver: [number, number] = [
    Math.floor(sampleVideo!.height / patch[1]),
    Math.floor(sampleVideo!.width / patch[2]),
  ];
  const given = {
    ...(rotaryWidth === undefined
      ? {}
      : {
          image_rotary_emb: videoRotary({
            grid,
            width: rotaryWidth,
            spreadOver: patch[0] > 1 ? undefined : spreadOver,
          }),
        }),
    ...(takesOffset ? { ofs: floatTensor([2]) } : {}),
  };
  return {
    tokens: grid[0] * grid[1] * grid[2] + maxSequenceLength,
    frames,
    fps: 8,
    embed: async ({ texts: [texts], embeds }: Condition) => {
      if (embeds) return { encoder_hidden_states: embeds['promptEmbeds'] };
      const options = { maxLength: maxSequenceLength, ...reading };
      return { encoder_hidden_states: (await textEncoder.encodePadded(texts!, options)).hidden };
    },
    latents: framesFirst([batch, drawn, channels, rows, columns], drawn - shown),
    schedule: { numInferenceSteps: settings.numInferenceSteps },
    jointCalls: true,
    inputsAt: (latents, timestep) => ({ hidden_states: latents, timestep: perSample(latents, timestep), ...given }),
    combine: guidedVideo(settings),
  } satisfies Plan;
}

/** Guidance by the scale, or growing to it over the steps that are run. */
export function guidedVideo({
  guidanceScale,
  useDynamicCfg,
  numInferenceSteps: steps,
}: Pick<VideoRequest['settings'], 'guidanceScale' | 'useDynamicCfg' | 'numInferenceSteps'>) {
  return ([cond, uncond]: readonly Tensor[], timestep: number): Tensor => {
    if (!uncond) return cond!;
    const progress = (steps - timestep) / steps;
    const dynamic = 1 + (guidanceScale * (1 - Math.cos(Math.PI * progress ** 5))) / 2;
    return guide(cond!, uncond, useDynamicCfg ? dynamic : guidanceScale);
  };
}

/** Latents that are drawn and taken frame by frame, [B, frames, C, h, w]. @param surplus frames at the beginning that are not shown */
function framesFirst(shape: readonly [number, number, number, number, number], surplus: number): LatentLayout {
  return {
    drawn: shape,
    shape,
    pack: (latents) => latents,
    unpack: (latents) => swapFramesAndChannels(cut(latents, { axis: 1, from: surplus, to: shape[1] })),
  };
}

/** [B, F, C, h, w] → [B, C, F, h, w], and as well back. */
export function swapFramesAndChannels(latents: Tensor): Tensor {
  const [batch, frames, channels, rows, columns] = dims(latents, 5);
  const plane = rows * columns;
  const out = new Float32Array(latents.size);
  for (let b = 0; b < batch; b++)
    for (let f = 0; f < frames; f++)
      for (let c = 0; c < channels; c++) {
        const from = ((b * frames + f) * channels + c) * plane;
        out.set(latents.f32.subarray(from, from + plane), ((b * channels + c) * frames + f) * plane);
      }
  return floatTensor(out, [batch, channels, frames, rows, columns]);
}
