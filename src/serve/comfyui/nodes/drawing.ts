/** What samplers ask for, as one request of a pipeline. */
import { DejaDitError } from '../../../errors/errors.ts';
import { hasWeights } from '../../../pipelines/request/prompt-weights.ts';
import { samplerNamed } from '../../../pipelines/request/samplers.ts';
import type { Core } from '../../core.ts';
import { NodeRefusal } from '../graph/node.ts';
import type { Conditioning, Drawing, ModelUse, StartLatent } from '../graph/values.ts';
import { cut, scaled } from '../lazy-pictures.ts';
import { promptOptions } from './texts.ts';

/** What a sampler is asked, whichever nodes say it. */
export interface Asked {
  /** Of the node. */
  id: string;
  use: ModelUse;
  positive: Conditioning;
  negative: Conditioning | undefined;
  cfg: number;
  seed: number;
  sampler: string;
  schedule: string;
  /** Of the whole schedule, of which those between `from` and `to` are taken. */
  steps: number;
  from: number;
  to: number;
  latent: StartLatent;
  /** Takes what is no error, but not what was asked for either. */
  note(message: string): void;
}

/** The inputs that are to blame, where they are called otherwise than a KSampler's. */
export type Blame = Partial<Record<'positive' | 'negative' | 'latent' | 'sampler' | 'from' | 'to' | 'model', string>>;

type Loaded = {
  levels: Parameters<typeof samplerNamed>[1];
  output: string;
  options: Readonly<Record<string, unknown>>;
};

/** @throws NodeRefusal naming the input that cannot be had */
export function drawing(asked: Asked, core: Core, blame: Blame = {}): Drawing {
  const { id, use, positive, negative, cfg, seed, from, to } = asked;
  const { model, cache, loras, summaries = [] } = use;
  const input = { positive: 'positive', negative: 'negative', ...blame };
  for (const [name, condition] of [
    ['positive', positive],
    ['negative', negative],
  ] as const)
    if (condition && condition.model !== model) throw otherModel(input[name], condition.model, model);
  const known = loaded(core, model);
  const options = {
    ...promptOptions(positive, { input: input.positive, isNegative: false }),
    ...(cfg === 1 || !negative ? {} : promptOptions(negative, { input: input.negative, isNegative: true })),
    seed: Number.isSafeInteger(seed) ? seed : BigInt(seed).toString(),
    scheduler: scheduler(asked, known, { sampler: 'sampler_name', model: 'model', ...blame }),
    ...guidance({ model, cfg, distilled: positive.guidance, known }, input.positive),
    ...start(asked, known, { latent: 'latent_image', from: 'denoise', to: 'end_at_step', ...blame }),
    ...(cache ? { cache: cache(to - from) } : {}),
    ...(loras ? { loras } : {}),
    ...weighting(asked, known),
    ...control(asked, known, input.positive),
  };
  return { node: id, model, options, summaries };
}

function otherModel(input: string, its: string, model: string): NodeRefusal {
  return new NodeRefusal(input, `is of '${its}': parts of different models cannot be mixed; load '${model}'`);
}

/** What is known of a model before it runs, which is nothing until it was loaded once. */
function loaded(core: Core, model: string): Loaded | undefined {
  const info = core.models.info(model);
  return info && { levels: info.levels, output: info.output, options: info.schema.properties };
}

/** Parentheses are weights where the model's encoders can be told so. */
function weighting({ positive, negative, note }: Asked, known: Loaded | undefined): object {
  const texts = [positive, negative].flatMap((condition) => (condition ? [condition.text, condition.text2 ?? ''] : []));
  if (!texts.some(hasWeights)) return {};
  if (known && 'promptWeighting' in known.options) return { promptWeighting: 'comfyui' };
  note('parentheses in its prompts are read as text: the text encoders of this model are given no weights here');
  return {};
}

function scheduler(
  { sampler, schedule, use: { shift } }: Asked,
  known: Loaded | undefined,
  input: { sampler: string; model: string },
): unknown {
  const name = `${sampler} ${schedule}`;
  if (known)
    try {
      samplerNamed(name, known.levels);
    } catch (error) {
      throw error instanceof DejaDitError ? new NodeRefusal(input.sampler, error.message) : error;
    }
  if (shift === undefined) return name;
  if (known && known.levels !== 'flows')
    throw new NodeRefusal(input.model, `has a shift, which is of flows; this model was trained with ${known.levels}`);
  // In all the ways in which schedulers are told of one; of those that depend on the size both ends are the same.
  const mu = Math.log(shift);
  return {
    className: name,
    use_dynamic_shifting: false,
    shift,
    flow_shift: shift,
    base_shift: mu,
    max_shift: mu,
    shift_terminal: null,
  };
}

/** `cfg` is classifier-free guidance, and FluxGuidance the scale that a model was distilled with; some models have one option for both. */
function guidance(
  {
    model,
    cfg,
    distilled,
    known,
  }: { model: string; cfg: number; distilled: number | undefined; known?: Loaded | undefined },
  input: string,
): object {
  const both = known ? 'trueCfgScale' in known.options : distilled !== undefined;
  if (!both && distilled !== undefined)
    throw new NodeRefusal(input, `'${model}' has no distilled guidance; leave out FluxGuidance and set cfg`);
  if (!both) return { guidanceScale: cfg };
  return {
    ...(distilled === undefined ? {} : { guidanceScale: distilled }),
    ...(cfg === 1 ? {} : { trueCfgScale: cfg }),
  };
}

/** What a ControlNet sees; the negative prompt is drawn away from along the same picture. */
function control({ use: { model }, positive }: Asked, known: Loaded | undefined, input: string): object {
  if (!positive.control) return {};
  const { model: its, picture, strength, from, to } = positive.control;
  if (its !== model) throw otherModel(input, its, model);
  if (known && !('controlImage' in known.options))
    throw new NodeRefusal(input, `has a ControlNet, and '${model}' has none; load a model with one`);
  return {
    controlImage: picture,
    controlnetConditioningScale: strength,
    controlGuidanceStart: from,
    controlGuidanceEnd: to,
  };
}

/** What steps start from, and which are taken. */
function start(
  { latent, steps, from, to }: Asked,
  known: Loaded | undefined,
  input: { latent: string; from: string; to: string },
): object {
  if (to <= from) throw new NodeRefusal(input.from, 'leaves no step: nothing would be drawn');
  if (
    to < steps &&
    (from > 0 || latent.from === 'picture' || known?.levels !== 'flows' || !('sigmas' in known.options))
  )
    throw new NodeRefusal(
      input.to,
      `must be ${steps} or more here: this model's schedule cannot be cut short at its end`,
    );
  if (latent.from === 'noise') {
    if (from > 0) throw new NodeRefusal(input.from, 'needs a picture to start from: noise has all steps before it');
    const { width, height, count, frames } = latent;
    if (known && frames !== undefined && known.output !== 'videos' && frames > 1)
      throw new NodeRefusal(input.latent, `is a video of ${frames} frames, and this model draws pictures`);
    if (known?.output === 'videos' && frames === undefined)
      throw new NodeRefusal(input.latent, 'is a picture, and this model draws videos; use EmptyHunyuanLatentVideo');
    const isVideo = known ? known.output === 'videos' : frames !== undefined;
    return {
      width,
      height,
      numImages: count,
      numInferenceSteps: to,
      ...(isVideo ? { numFrames: frames } : {}),
      // Cut short, the last of these levels is followed by none.
      ...(to < steps ? { sigmas: Array.from({ length: to }, (_, i) => 1 - i / steps) } : {}),
    };
  }
  const { picture, mask } = latent;
  if (mask && known && !('maskImage' in known.options))
    throw new NodeRefusal(input.latent, 'has a mask, and this model does not inpaint; load one that does');
  if (known && !('image' in known.options))
    throw new NodeRefusal(input.latent, 'is a picture, and this model starts from noise alone');
  const multiple = (side: 'width' | 'height') =>
    Number((known?.options[side] as { multipleOf?: number } | undefined)?.multipleOf ?? 16);
  const whole = (length: number, of: number) => Math.max(of, length - (length % of));
  const size = { width: whole(picture.width, multiple('width')), height: whole(picture.height, multiple('height')) };
  const fits = size.width <= picture.width && size.height <= picture.height;
  return {
    image: fits ? cut(picture, size) : picture,
    ...(mask
      ? { maskImage: cut(scaled(mask, { ...picture, kernel: 'nearest', isCut: false }), fits ? size : picture) }
      : {}),
    ...size,
    numInferenceSteps: steps,
    ...(known && !('strength' in known.options)
      ? noStrength(from, input.from)
      : { strength: share(steps - from, steps) }),
  };
}

function noStrength(from: number, input: string): object {
  if (from === 0) return {};
  throw new NodeRefusal(input, 'must be the whole schedule: this model takes all steps on a picture');
}

/** part / whole, so that it times the whole is the part exactly. */
function share(part: number, whole: number): number {
  const near = part / whole;
  const tries = [near, near * (1 + Number.EPSILON), near * (1 - Number.EPSILON)];
  return tries.find((one) => one * whole === part) ?? near;
}
