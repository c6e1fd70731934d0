/** FLUX.1 with ControlNets: text to image along pictures of edges, depth, poses or the like. Diffusers' `FluxControlNetPipeline`. */
import { DejaDitError } from '../../errors/errors.ts';
import type { GraphModel } from '../../models/graph-model.ts';
import { intTensor } from '../../tensor/tensor.ts';
import { controlNets } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { type ControlNets, controlledPlan, controlOptions, readControls } from '../request/control-nets.ts';
import { perSample } from '../request/latents.ts';
import { packedLatents } from '../request/packing.ts';
import { flowSchedule } from '../request/schedule.ts';
import { encodePictures } from '../request/start-images.ts';
import { embedFlux, fluxComponents, fluxInputs } from './calls.ts';
import { fluxConditions, fluxGuidance, fluxOptions } from './options.ts';

const { transformer: fluxTransformer, ...fluxParts } = fluxComponents;

const knowsKinds = ({ config }: GraphModel) => Boolean(config['num_mode']);
/** XLabs' nets see pixels where others see latents, and their samples take turns. */
const seesPixels = ({ config }: GraphModel) => Boolean(config['conditioning_embedding_channels']);

export const fluxControlNetPipeline = definePipeline({
  classNames: ['FluxControlNetPipeline'],
  components: { ...fluxParts, controlnet: controlNets('FluxControlNetModel'), transformer: fluxTransformer },

  options: {
    conditions: fluxConditions,
    guidance: fluxGuidance,
    options: {
      ...fluxOptions(7),
      trueCfgScale: { default: 1 },
      ...controlOptions,
      controlMode: {
        unused: {
          because: 'as this ControlNet knows one kind of pictures',
          when: ({ controlnet }) => !controlnet.nets.some(knowsKinds),
        },
      },
    },
  },

  async plan({ parts, settings, reading, warnings }) {
    const { transformer, vae, scheduler, controlnet } = parts;
    const { batch, maxSequenceLength, guidanceScale, numInferenceSteps: steps, signal } = settings;
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const latents = packedLatents([batch, transformer.traits.inChannels / 4, rows, columns]);
    const tokens = (rows * columns) / 4;
    const controls = await readControls(controlnet, settings, warnings);
    for (const [i, { net, mode }] of controls.entries())
      if (knowsKinds(net) && mode === undefined)
        throw new DejaDitError('INVALID_ARGUMENT', 'missing: this ControlNet knows several kinds of pictures', {
          path: controls.length === 1 ? 'controlMode' : `controlMode[${i}]`,
        });
    const takesTurns = samplesTakeTurns(controlnet);
    const inputsAt = fluxInputs(transformer, { rows: rows / 2, columns: columns / 2, guidanceScale });
    const { start, besides } = controlledPlan({
      controls,
      steps,
      latents,
      given: settings.latents,
      see: async ({ net, pixels }, noise) =>
        seesPixels(net)
          ? pixels
          : latents.pack((await encodePictures(pixels, { vae, batch, noise, signal })).reshape(latents.drawn)),
      inputsOf: ({ control: { net, mode }, seen, latents: sample, timestep, branch }) => {
        const { guidance: _, ...call } = inputsAt(sample, timestep, branch);
        return {
          ...call,
          ...branch,
          controlnet_cond: seen,
          ...(net.config['guidance_embeds'] ? { guidance: perSample(sample, guidanceScale) } : {}),
          ...(knowsKinds(net) ? { controlnet_mode: intTensor(Array(batch).fill(mode), [batch, 1]) } : {}),
        };
      },
      warnings,
      signal,
    });
    return {
      tokens: tokens + maxSequenceLength,
      embed: (condition) => embedFlux(parts, condition, { maxLength: maxSequenceLength, ...reading }),
      latents,
      schedule: flowSchedule(settings, { scheduler, tokens }),
      start,
      besides,
      inputsAt: (...call) => ({ ...inputsAt(...call), ...(takesTurns ? { controlnet_blocks_repeat: true } : {}) }),
    };
  },
});

/** @throws DejaDitError UNSUPPORTED for nets whose samples go to blocks in different orders */
function samplesTakeTurns({ nets }: ControlNets): boolean {
  const turns = nets.map(seesPixels);
  if (turns.every((own) => own === turns[0])) return turns[0]!;
  throw new DejaDitError(
    'UNSUPPORTED',
    'ControlNets of XLabs and others give their samples to blocks in different orders, and cannot be added up',
    { path: 'controlnet' },
  );
}
