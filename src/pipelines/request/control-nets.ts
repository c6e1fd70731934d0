/**
 * What ControlNets add to a request: each condition is a net, a picture that it sees, and how strongly and when it acts. What several add is
 * summed up, as Diffusers does it. Which inputs a family's nets take is its pipeline's business.
 */
import { DejaDitError } from '../../errors/errors.ts';
import type { WarningLog } from '../../errors/warnings.ts';
import type { GraphModel } from '../../models/graph-model.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import { cut } from '../../tensor/slices.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import type { GenerateOptions } from '../schema/options.ts';
import type { DenoiseOptions } from './denoise.ts';
import { initialLatents } from './latents.ts';
import { loadMasks } from './masks.ts';
import type { NoiseSource } from './noise.ts';
import type { LatentLayout, Plan } from './plan.ts';
import { type ImageSource, loadPixels } from './start-images.ts';
import { repeatRows } from './tensors.ts';

/** The ControlNets of a pipeline. The same one given several times is loaded once. */
export class ControlNets {
  constructor(
    readonly nets: readonly [GraphModel, ...GraphModel[]],
    /** Whether they were given as a list: then options of conditions are lists too. One net alone may then see several pictures. */
    readonly listed: boolean,
  ) {}

  /** Those in memory, by names as Diffusers gives them: `controlnet`, `controlnet_1`. */
  models(name: string): Record<string, GraphModel> {
    return Object.fromEntries([...new Set(this.nets)].map((net, i) => [i === 0 ? name : `${name}_${i}`, net]));
  }

  async dispose(): Promise<void> {
    await Promise.all([...new Set(this.nets)].map((net) => net.dispose()));
  }
}

/** One condition of a request. */
export interface Control {
  net: GraphModel;
  /** [B, 3, H, W]. */
  pixels: Tensor;
  /** [B, 1, H, W], 1 where the picture is drawn anew. */
  masks: Tensor | undefined;
  scale: number;
  /** Which kind of picture it is, for nets that know several. */
  mode: number | undefined;
  /** Shares of the steps between which it acts. */
  from: number;
  to: number;
}

/** Options of all pipelines with ControlNets. */
export const controlOptions = {
  controlImage: { required: true },
  controlnetConditioningScale: { default: 1 },
  controlGuidanceStart: { default: 0 },
  controlGuidanceEnd: { default: 1 },
};

interface ControlSettings
  extends Pick<GenerateOptions, 'controlImage' | 'controlMask' | 'controlMode'>,
    Required<Pick<GenerateOptions, 'controlnetConditioningScale' | 'controlGuidanceStart' | 'controlGuidanceEnd'>> {
  batch: number;
  height: number;
  width: number;
  numInferenceSteps: number;
}

/**
 * The conditions of a request.
 * @throws DejaDitError INVALID_ARGUMENT naming the option that does not fit the nets; warns of what never acts
 */
export async function readControls(
  nets: ControlNets,
  settings: ControlSettings,
  warnings: WarningLog,
): Promise<Control[]> {
  const images = conditionImages(nets, settings.controlImage!);
  const of = <T>(name: string, value: T | readonly T[]) => perCondition(name, value, { nets, count: images.length });
  const scales = of('controlnetConditioningScale', settings.controlnetConditioningScale);
  const starts = of('controlGuidanceStart', settings.controlGuidanceStart);
  const ends = of('controlGuidanceEnd', settings.controlGuidanceEnd);
  const modes = of('controlMode', settings.controlMode ?? null);
  const controls: Control[] = [];
  for (const [i, source] of images.entries()) {
    const given = await loadPixels(source, settings, images.length === 1 ? 'controlImage' : `controlImage[${i}]`);
    const { controlMask } = settings;
    const masks = controlMask === undefined ? undefined : await loadMasks(controlMask, settings, 'controlMask');
    // Each is for the pictures of one prompt, which have samples of their own.
    const each = (tensor: Tensor) => repeatRows(tensor, settings.batch / tensor.dim(0));
    controls.push({
      net: nets.nets[i] ?? nets.nets[0],
      pixels: each(given),
      masks: masks && each(masks),
      scale: scales[i]!,
      mode: modes[i] ?? undefined,
      from: starts[i]!,
      to: ends[i]!,
    });
  }
  warnOfIdle(controls, settings.numInferenceSteps, warnings);
  return controls;
}

type Images = ImageSource | readonly ImageSource[];

/** The pictures of each condition. */
function conditionImages({ nets, listed }: ControlNets, given: NonNullable<GenerateOptions['controlImage']>): Images[] {
  const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value);
  const bad = (message: string) => new DejaDitError('INVALID_ARGUMENT', message, { path: 'controlImage' });
  if (!listed) {
    if (isList(given) && given.some(isList))
      throw bad('holds lists, but there is one ControlNet; load several with controlnet: [one, another]');
    return [given as Images];
  }
  const each = (isList(given) ? given : [given]) as Images[];
  if (nets.length > 1 && each.length !== nets.length)
    throw bad(`${each.length} for ${nets.length} ControlNets, expected a list with one for each`);
  return each;
}

/** An option's value for each condition. */
function perCondition<T>(
  name: string,
  value: T | readonly T[],
  { nets: { nets, listed }, count }: { nets: ControlNets; count: number },
): T[] {
  if (!Array.isArray(value)) return Array<T>(count).fill(value as T);
  if (value.length === count) return value;
  const several = nets.length > 1 ? `${count} ControlNets` : `${count} pictures that the ControlNet sees`;
  const one = 'one ControlNet; load several with controlnet: [one, another]';
  throw new DejaDitError('INVALID_ARGUMENT', `${value.length} for ${listed ? several : one}`, { path: name });
}

const actsAt = ({ from, to }: Control, index: number, steps: number) =>
  !(index / steps < from || (index + 1) / steps > to);

function warnOfIdle(controls: readonly Control[], steps: number, warnings: WarningLog): void {
  for (const [i, control] of controls.entries()) {
    if (Array.from({ length: steps }, (_, index) => actsAt(control, index, steps)).includes(true)) continue;
    const which = controls.length === 1 ? 'the ControlNet' : `ControlNet ${i + 1}`;
    warnings.add(
      `${which} has no effect, as none of ${steps} steps is within controlGuidanceStart ${control.from} and controlGuidanceEnd ${control.to}`,
    );
  }
}

/** A call of a net. */
export interface ControlCall {
  control: Control;
  /** What the net sees of the picture, a row per sample. */
  seen: Tensor;
  latents: Tensor;
  timestep: number;
  /** What the first call's branch brings. */
  branch: ForwardInputs;
}

export interface ControlPlan {
  controls: readonly Control[];
  steps: number;
  latents: LatentLayout;
  /** The caller's noise. */
  given: Tensor | undefined;
  /** What a net sees of its picture [B or more rows, …]: rows behind B are for further branches of a joint call. */
  see(control: Control, noise: NoiseSource): Tensor | Promise<Tensor>;
  /** What a net is called with, besides how strongly it acts. */
  inputsOf(call: ControlCall): ForwardInputs | Promise<ForwardInputs>;
  /** Lists of outputs by what the transformer calls them. Default: the same. */
  names?: Readonly<Record<string, string>>;
  warnings: WarningLog;
  signal: AbortSignal | undefined;
}

/** The members of a plan by which nets take part; pictures are encoded before noise is drawn, as in Diffusers. */
export function controlledPlan(plan: ControlPlan): Required<Pick<Plan, 'start' | 'besides'>> {
  const { controls, latents, given } = plan;
  const seen: Tensor[] = [];
  return {
    start: async (noise, scheduler) => {
      for (const control of controls) seen.push(await plan.see(control, noise));
      return { latents: initialLatents(scheduler, { latents, noise, given }) };
    },
    besides: addedSamples(plan, seen),
  };
}

type Samples = Readonly<Record<string, readonly Tensor[]>>;

function addedSamples(plan: ControlPlan, seen: readonly Tensor[]): NonNullable<DenoiseOptions['besides']> {
  const { controls, steps, signal, warnings, names = {} } = plan;
  /** How many samples each list has: of the first step, in which all nets are called. */
  let first: Samples | undefined;
  const call = async (control: Control, scale: number, { seen: picture, ...rest }: Omit<ControlCall, 'control'>) => {
    const rows = cut(picture, { axis: 0, from: 0, to: rest.latents.dim(0) });
    const inputs = await plan.inputsOf({ control, seen: rows, ...rest });
    return samplesOf(await control.net.call('forward', { ...inputs, conditioning_scale: scale }, signal));
  };
  return async (latents, { timestep, index, branch }) => {
    let sum: Samples | undefined;
    for (const [i, control] of controls.entries()) {
      const scale = actsAt(control, index, steps) ? control.scale : 0;
      if (first && scale === 0) continue;
      const samples = await call(control, scale, { seen: seen[i]!, latents, timestep, branch });
      sum = sum ? added(sum, samples, first ? undefined : warnings) : samples;
    }
    first ??= sum;
    // What does not act adds nothing; in tensors of the same shapes, so that a cache goes on.
    const result = like(first!, sum, latents.dim(0));
    return Object.fromEntries(Object.entries(result).map(([list, tensors]) => [names[list] ?? list, tensors]));
  };
}

/** As many samples as in `first`; zeros where there are none. */
function like(first: Samples, sum: Samples | undefined, rows: number): Samples {
  const zeros = ({ shape }: Tensor) => {
    const own = [rows, ...shape.slice(1)];
    return floatTensor(new Float32Array(own.reduce((size, edge) => size * edge, 1)), own);
  };
  return Object.fromEntries(
    Object.entries(first).map(([list, samples]) => [list, sum?.[list]?.slice(0, samples.length) ?? samples.map(zeros)]),
  );
}

/** The outputs of a ControlNet as lists. */
function samplesOf(outputs: Readonly<Record<string, Tensor>>): Samples {
  const lists: Record<string, Tensor[]> = {};
  for (const [key, tensor] of Object.entries(outputs)) {
    const [, list, index] = /^(.*)\.(\d+)$/.exec(key)!;
    lists[list!] ??= [];
    lists[list!]![Number(index)] = tensor;
  }
  return lists;
}

/** Sample by sample; as in Diffusers, only as many as the first nets and this one have in common. */
function added(sum: Samples, samples: Samples, warnings: WarningLog | undefined): Samples {
  const lists = new Set([...Object.keys(sum), ...Object.keys(samples)]);
  for (const list of lists) {
    const [before, now] = [sum[list]?.length ?? 0, samples[list]?.length ?? 0];
    if (before !== now && !(now === 0 && before > 0))
      warnings?.add(
        `ControlNets of different depths: of ${list}, ${before} and ${now}, only the first ${Math.min(before, now)} are added up`,
      );
  }
  return Object.fromEntries(
    Object.entries(sum).map(([list, tensors]) => {
      const others = samples[list];
      if (!others) return [list, tensors];
      return [list, tensors.slice(0, others.length).map((tensor, i) => plus(tensor, others[i]!))];
    }),
  );
}

function plus(a: Tensor, b: Tensor): Tensor {
  const other = b.f32;
  return floatTensor(
    a.f32.map((value, i) => value + other[i]!),
    a.shape,
  );
}
