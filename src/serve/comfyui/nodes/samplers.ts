/** Nodes that draw: the KSamplers, and what changes the models that they draw with. */
import { namesFor, samplers as samplerTable, schedules } from '../../../pipelines/request/samplers.ts';
import type { Core } from '../../core.ts';
import { type Input, type Inputs, type NodeClass, NodeRefusal, type Surroundings } from '../graph/node.ts';
import type { OpenSteps, StartLatent, Value, ValueOf } from '../graph/values.ts';
import { type Asked, drawing } from './drawing.ts';

/** Those that some model of the server can run with. */
function fitting(core: Core, table: Parameters<typeof namesFor>[0]): string[] {
  const levels = core.models
    .list()
    .flatMap(({ name }) => core.models.info(name)?.levels ?? (['flows', 'noise'] as const));
  return [...new Set(levels.flatMap((kind) => namesFor(table, kind)))];
}

export const samplerNames: Input = { type: 'COMBO', choices: ({ core }) => fitting(core, samplerTable) };
export const scheduleNames: Input = { type: 'COMBO', choices: ({ core }) => fitting(core, schedules) };
export const cfg: Input = { type: 'FLOAT', default: 1, min: 0, max: 100, step: 0.1 };
export const seed: Input = { type: 'INT', default: 0, min: 0, max: 2 ** 64 };
export const steps: Input = { type: 'INT', default: 20, min: 1, max: 10000 };
export const denoise: Input = { type: 'FLOAT', default: 1, min: 0, max: 1, step: 0.01 };

const model: Input = { type: 'MODEL' };
const onOff: Input = { type: 'COMBO', choices: () => ['enable', 'disable'] };
const sampling = {
  steps,
  cfg,
  sampler_name: samplerNames,
  scheduler: scheduleNames,
  positive: { type: 'CONDITIONING' },
  negative: { type: 'CONDITIONING' },
  latent_image: { type: 'LATENT' },
} as const satisfies Record<string, Input>;
const latentOutput: NodeClass['outputs'] = [['LATENT', 'LATENT']];

/** These go on from a sample alone, so that steps in two parts are steps in one. */
const withoutMemory = ['euler', 'heun', 'ddim'];

/** What is there to start from. @throws NodeRefusal for what another sampler drew */
export function startLatent(inputs: Inputs, name = 'latent_image'): StartLatent {
  const latent = inputs.link(name, 'LATENT');
  if (latent.from === 'noise' || latent.from === 'picture') return latent;
  throw new NodeRefusal(
    name,
    latent.from === 'steps'
      ? 'has noise left in it, which a KSamplerAdvanced with add_noise disable takes away'
      : 'a graph draws once here; send what it drew back as an upload, in a second prompt',
  );
}

/** With `denoise` below 1 steps are the last of a longer schedule. */
export function lateSteps(count: number, share: number): Pick<Asked, 'steps' | 'from' | 'to'> {
  if (share === 0) throw new NodeRefusal('denoise', 'must be above 0: nothing would be drawn');
  const all = Math.max(count, Math.floor(count / share));
  return { steps: all, from: all - count, to: all };
}

function common(inputs: Inputs) {
  return {
    id: inputs.id,
    use: inputs.link('model', 'MODEL'),
    positive: inputs.link('positive', 'CONDITIONING'),
    negative: inputs.link('negative', 'CONDITIONING'),
    cfg: inputs.number('cfg'),
    sampler: inputs.text('sampler_name'),
    schedule: inputs.text('scheduler'),
    note: inputs.note,
  };
}

function advanced(inputs: Inputs, { core }: Surroundings): readonly Value[] {
  const asked = common(inputs);
  const all = inputs.number('steps');
  const [from, end] = [inputs.number('start_at_step'), inputs.number('end_at_step')];
  const to = Math.min(end, all);
  const blame = { from: 'start_at_step' };
  const given = inputs.link('latent_image', 'LATENT');
  const before = inputs.text('add_noise') === 'disable' ? goneOn(given, { asked, from, steps: all }) : undefined;
  const latent = before?.latent ?? startLatent(inputs);
  const whole: Asked = {
    ...asked,
    seed: before?.seed ?? inputs.number('noise_seed'),
    steps: all,
    from: before?.from ?? from,
    to,
    latent,
  };
  if (to === all || inputs.text('return_with_leftover_noise') === 'disable')
    return [{ type: 'LATENT', from: 'drawing', drawing: drawing(whole, core, blame) }];
  // What is wrong with them is said here, though they are taken later.
  drawing({ ...whole, to: all, note: () => undefined }, core, blame);
  return [{ type: 'LATENT', from: 'steps', open: { ...whole, asked: comparable(asked) } }];
}

/** The steps that a sampler goes on from. @throws NodeRefusal where two parts would not be what one request draws */
function goneOn(
  latent: ValueOf<'LATENT'>,
  { asked, from, steps: all }: { asked: ReturnType<typeof common>; from: number; steps: number },
): OpenSteps {
  if (latent.from !== 'steps')
    throw new NodeRefusal(
      'add_noise',
      'must be enable, unless it goes on from the leftover noise of another KSamplerAdvanced',
    );
  const { open } = latent;
  if (open.to !== from || open.steps !== all)
    throw new NodeRefusal('start_at_step', `must be ${open.to} of ${open.steps}, where the steps before stop`);
  const now = comparable(asked);
  const other = Object.keys(now).find((name) => JSON.stringify(now[name]) !== JSON.stringify(open.asked[name]));
  if (other !== undefined) throw new NodeRefusal(other, 'must be that of the steps before: a graph draws once here');
  if (!withoutMemory.includes(asked.sampler))
    throw new NodeRefusal(
      'sampler_name',
      `begins anew in the middle, as ${withoutMemory.join(', ')} do not; use one of these`,
    );
  return open;
}

/** What two samplers must have in common to be one, by their inputs. */
function comparable({
  use,
  positive,
  negative,
  cfg,
  sampler,
  schedule,
}: ReturnType<typeof common>): OpenSteps['asked'] {
  // (A cache's settings depend on the number of steps.)
  const model = { ...use, cache: use.cache?.(100) };
  return { model, positive, negative, cfg, sampler_name: sampler, scheduler: schedule };
}

/** A model whose noise levels are shifted. */
const shifted = (title: string, inputs: NodeClass['inputs'], shiftOf: (inputs: Inputs) => number): NodeClass => ({
  title,
  category: 'advanced/model',
  inputs: { model, ...inputs },
  outputs: [['MODEL', 'MODEL']],
  read: (given) => [{ ...given.link('model', 'MODEL'), shift: shiftOf(given) }],
});

const shift = (value: number): Input => ({ type: 'FLOAT', default: value, min: 0.01, max: 100, step: 0.01 });
const side: Input = { type: 'INT', default: 1024, min: 16, max: 16384, step: 8 };

export const samplers: Readonly<Record<string, NodeClass>> = {
  KSampler: {
    title: 'KSampler',
    category: 'sampling',
    inputs: { model, seed, ...sampling, denoise },
    outputs: latentOutput,
    read: (inputs, { core }) => {
      const latent = startLatent(inputs);
      if (latent.from === 'noise' && inputs.number('denoise') !== 1)
        throw new NodeRefusal('denoise', 'must be 1 where there is no picture to start from');
      const late = lateSteps(inputs.number('steps'), inputs.number('denoise'));
      const asked = { ...common(inputs), ...late, seed: inputs.number('seed'), latent };
      return [{ type: 'LATENT', from: 'drawing', drawing: drawing(asked, core) }];
    },
  },
  KSamplerAdvanced: {
    title: 'KSampler (Advanced)',
    category: 'sampling',
    description:
      'Two in a row are one where they ask for the same and the sampler remembers nothing: euler, heun, ddim.',
    inputs: {
      model,
      add_noise: onOff,
      noise_seed: seed,
      ...sampling,
      start_at_step: { type: 'INT', default: 0, min: 0, max: 10000 },
      end_at_step: { type: 'INT', default: 10000, min: 0, max: 10000 },
      return_with_leftover_noise: { type: 'COMBO', choices: () => ['disable', 'enable'] },
    },
    outputs: latentOutput,
    read: advanced,
  },
  ModelSamplingFlux: shifted(
    'ModelSamplingFlux',
    { max_shift: shift(1.15), base_shift: shift(0.5), width: side, height: side },
    (inputs) => {
      const [most, least, width, height] = ['max_shift', 'base_shift', 'width', 'height'].map((name) =>
        inputs.number(name),
      ) as [number, number, number, number];
      // Linear in the tokens of the picture, between those of 256 x 256 and 1024 x 1024.
      const slope = (most - least) / (4096 - 256);
      return Math.exp(((width * height) / 256) * slope + least - slope * 256);
    },
  ),
  ModelSamplingSD3: shifted('ModelSamplingSD3', { shift: shift(3) }, (inputs) => inputs.number('shift')),
  ModelSamplingAuraFlow: shifted('ModelSamplingAuraFlow', { shift: shift(1.73) }, (inputs) => inputs.number('shift')),
};
