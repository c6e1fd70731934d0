/** Sampling in parts, as workflows for FLUX have it: noise, guider, sampler and levels, and the node that takes them together. */
import { type NodeClass, NodeRefusal } from '../graph/node.ts';
import { drawing } from './drawing.ts';
import { cfg, denoise, lateSteps, samplerNames, scheduleNames, seed, startLatent, steps } from './samplers.ts';

export const customSampling: Readonly<Record<string, NodeClass>> = {
  RandomNoise: {
    title: 'RandomNoise',
    category: 'sampling/custom_sampling/noise',
    inputs: { noise_seed: seed },
    outputs: [['NOISE', 'NOISE']],
    read: (inputs) => [{ type: 'NOISE', seed: inputs.number('noise_seed') }],
  },
  BasicGuider: {
    title: 'BasicGuider',
    category: 'sampling/custom_sampling/guiders',
    inputs: { model: { type: 'MODEL' }, conditioning: { type: 'CONDITIONING' } },
    outputs: [['GUIDER', 'GUIDER']],
    read: (inputs) => [
      {
        type: 'GUIDER',
        use: inputs.link('model', 'MODEL'),
        positive: inputs.link('conditioning', 'CONDITIONING'),
        cfg: 1,
      },
    ],
  },
  CFGGuider: {
    title: 'CFGGuider',
    category: 'sampling/custom_sampling/guiders',
    inputs: {
      model: { type: 'MODEL' },
      positive: { type: 'CONDITIONING' },
      negative: { type: 'CONDITIONING' },
      cfg,
    },
    outputs: [['GUIDER', 'GUIDER']],
    read: (inputs) => [
      {
        type: 'GUIDER',
        use: inputs.link('model', 'MODEL'),
        positive: inputs.link('positive', 'CONDITIONING'),
        negative: inputs.link('negative', 'CONDITIONING'),
        cfg: inputs.number('cfg'),
      },
    ],
  },
  KSamplerSelect: {
    title: 'KSamplerSelect',
    category: 'sampling/custom_sampling/samplers',
    inputs: { sampler_name: samplerNames },
    outputs: [['SAMPLER', 'SAMPLER']],
    read: (inputs) => [{ type: 'SAMPLER', name: inputs.text('sampler_name') }],
  },
  BasicScheduler: {
    title: 'BasicScheduler',
    category: 'sampling/custom_sampling/schedulers',
    inputs: { model: { type: 'MODEL' }, scheduler: scheduleNames, steps, denoise },
    outputs: [['SIGMAS', 'SIGMAS']],
    read: (inputs) => [
      {
        type: 'SIGMAS',
        use: inputs.link('model', 'MODEL'),
        schedule: inputs.text('scheduler'),
        ...lateSteps(inputs.number('steps'), inputs.number('denoise')),
      },
    ],
  },
  SamplerCustomAdvanced: {
    title: 'SamplerCustomAdvanced',
    category: 'sampling/custom_sampling',
    inputs: {
      noise: { type: 'NOISE' },
      guider: { type: 'GUIDER' },
      sampler: { type: 'SAMPLER' },
      sigmas: { type: 'SIGMAS' },
      latent_image: { type: 'LATENT' },
    },
    outputs: [
      ['LATENT', 'output'],
      ['LATENT', 'denoised_output'],
    ],
    read: (inputs, { core }) => {
      const { use, positive, negative, cfg: scale } = inputs.link('guider', 'GUIDER');
      const sigmas = inputs.link('sigmas', 'SIGMAS');
      if (sigmas.use.model !== use.model || sigmas.use.shift !== use.shift)
        throw new NodeRefusal('sigmas', 'are of another model, or of another shift, than the guider');
      const asked = {
        id: inputs.id,
        use,
        positive,
        negative,
        cfg: scale,
        seed: inputs.link('noise', 'NOISE').seed,
        sampler: inputs.link('sampler', 'SAMPLER').name,
        schedule: sigmas.schedule,
        steps: sigmas.steps,
        from: sigmas.from,
        to: sigmas.to,
        latent: startLatent(inputs),
        note: inputs.note,
      };
      const blame = { positive: 'guider', negative: 'guider', model: 'guider', sampler: 'sampler', from: 'sigmas' };
      const drawn = { type: 'LATENT', from: 'drawing', drawing: drawing(asked, core, blame) } as const;
      // All steps are taken, so that the last one's estimate is the result.
      return [drawn, drawn];
    },
  },
};
