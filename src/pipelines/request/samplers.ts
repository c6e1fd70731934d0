/**
 * Samplers and schedules by the names they have in k-diffusion, ComfyUI and A1111's web UI, as schedulers of Diffusers: those that are the
 * same method, step for step. What has no exact counterpart is not in the tables.
 */
import { DejaDitError } from '../../errors/errors.ts';

/** What a scheduler steps along: noise levels of a diffusion, times of a flow, angles (SCM). */
export type Levels = 'flows' | 'noise' | 'angles';

type Fields = Readonly<Record<string, unknown>>;

interface Sampler {
  /** As A1111 writes it. */
  label: string;
  flows?: string;
  noise?: string;
  fields?: Fields;
}

/** By ComfyUI's names. */
export const samplers: Readonly<Record<string, Sampler>> = {
  euler: { label: 'Euler', flows: 'FlowMatchEulerDiscreteScheduler', noise: 'EulerDiscreteScheduler' },
  euler_ancestral: { label: 'Euler a', noise: 'EulerAncestralDiscreteScheduler' },
  heun: { label: 'Heun', noise: 'HeunDiscreteScheduler' },
  dpmpp_2m: {
    label: 'DPM++ 2M',
    flows: 'DPMSolverMultistepScheduler',
    noise: 'DPMSolverMultistepScheduler',
    fields: { algorithm_type: 'dpmsolver++', solver_order: 2, solver_type: 'midpoint' },
  },
  dpmpp_2m_sde: {
    label: 'DPM++ 2M SDE',
    flows: 'DPMSolverMultistepScheduler',
    noise: 'DPMSolverMultistepScheduler',
    fields: { algorithm_type: 'sde-dpmsolver++', solver_order: 2, solver_type: 'midpoint' },
  },
  ddim: { label: 'DDIM', noise: 'DDIMScheduler' },
  plms: { label: 'PLMS', noise: 'PNDMScheduler', fields: { skip_prk_steps: true } },
  uni_pc: {
    label: 'UniPC',
    flows: 'UniPCMultistepScheduler',
    noise: 'UniPCMultistepScheduler',
    fields: { solver_type: 'bh1' },
  },
  uni_pc_bh2: {
    label: 'UniPC bh2',
    flows: 'UniPCMultistepScheduler',
    noise: 'UniPCMultistepScheduler',
    fields: { solver_type: 'bh2' },
  },
  lcm: { label: 'LCM', flows: 'FlowMatchLCMScheduler', noise: 'LCMScheduler' },
};

interface Schedule {
  label: string;
  flows?: Fields;
  noise?: Fields;
}

/** By ComfyUI's names; those of flows are the checkpoint's own. */
export const schedules: Readonly<Record<string, Schedule>> = {
  automatic: { label: 'Automatic', flows: {}, noise: {} },
  simple: { label: 'Simple', flows: {} },
  normal: { label: 'Normal', noise: { timestep_spacing: 'linspace' } },
  sgm_uniform: { label: 'SGM Uniform', noise: { timestep_spacing: 'trailing' } },
  ddim_uniform: { label: 'DDIM', noise: { timestep_spacing: 'leading' } },
  // (With flows, these mean something to FlowMatchEulerDiscreteScheduler alone, and not what other tools mean: give the fields.)
  karras: { label: 'Karras', noise: { use_karras_sigmas: true } },
  exponential: { label: 'Exponential', noise: { use_exponential_sigmas: true } },
  beta: { label: 'Beta', noise: { use_beta_sigmas: true } },
};

const aliases: Readonly<Record<string, string>> = { euler_a: 'euler_ancestral', unipc: 'uni_pc', pndm: 'plms' };

const plain = (name: string): string => {
  const words = name
    .trim()
    .toLowerCase()
    .replaceAll('++', 'pp')
    .replaceAll(/[\s-]+/g, '_');
  return aliases[words] ?? words;
};

/**
 * @param name of a sampler, alone or with a schedule behind it: `euler`, `DPM++ 2M Karras`, `dpmpp_2m_sde sgm_uniform`
 * @returns a scheduler's class and fields; undefined if there is no sampler of this name
 * @throws DejaDitError INVALID_ARGUMENT if the sampler or the schedule is none for models of these levels
 */
export function samplerNamed(name: string, levels: Levels): { className: string; fields: Fields } | undefined {
  const words = plain(name);
  const schedule = Object.keys(schedules).find((known) => words.endsWith(`_${known}`) && !samplers[words]);
  const key = plain(schedule === undefined ? words : words.slice(0, -1 - schedule.length));
  const sampler = Object.hasOwn(samplers, key) ? samplers[key]! : undefined;
  if (!sampler) return undefined;
  const className = levels === 'angles' ? undefined : sampler[levels];
  if (className === undefined) throw refusal(`'${key}' is no sampler`, levels, namesFor(samplers, levels));
  const fields = schedule === undefined || levels === 'angles' ? {} : schedules[schedule]![levels];
  if (fields === undefined) throw refusal(`'${schedule}' is no schedule`, levels, namesFor(schedules, levels));
  return { className, fields: { ...sampler.fields, ...fields } };
}

/** Those that models of these levels can run with. */
export function namesFor(
  table: Readonly<Record<string, { flows?: unknown; noise?: unknown }>>,
  levels: Levels,
): string[] {
  if (levels === 'angles') return [];
  return Object.keys(table).filter((name) => table[name]![levels] !== undefined);
}

const refusal = (what: string, levels: Levels, known: readonly string[]) =>
  new DejaDitError(
    'INVALID_ARGUMENT',
    `${what} for a model that was trained with ${levels}; there are ${known.join(', ') || 'none'}`,
    {
      path: 'scheduler',
    },
  );
