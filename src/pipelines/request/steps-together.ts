/**
 * One step of several requests at once: calls of a model that depend on their inputs alone, and have inputs of one shape, are answered by one
 * run with all of their samples. What each request gets differs from what it gets alone by no more than the order in which a kernel adds.
 */
import type { ForwardInputs } from '../../models/inputs.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { join } from '../../tensor/slices.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { type Denoising, type ModelCall, samplesOf } from './denoise.ts';

/** Elements of the hidden states of one run: those of a picture of 1024 x 1024. Larger runs use a processor no better, and memory. */
const mostElements = 2 ** 18;
const mostCalls = 16;

/** A request that takes a step, or has failed to. */
interface Stepping {
  request: Denoising;
  start: number;
  calls: readonly ModelCall[];
  outputs: Tensor[][];
  failure?: { error: unknown };
}

interface Slot {
  of: Stepping;
  index: number;
  call: ModelCall;
}

/** Takes the next step of each; what goes wrong with one is none of the others' business. */
export async function stepsTogether(requests: readonly Denoising[]): Promise<PromiseSettledResult<void>[]> {
  const steps = requests.map((request): Stepping => {
    const begun: Stepping = { request, start: performance.now(), calls: [], outputs: [] };
    return guarded(begun, () => {
      request.check();
      begun.calls = request.calls();
    });
  });
  const slots = steps.flatMap((of) => of.calls.map((call, index): Slot => ({ of, index, call })));
  for (const group of groups(slots)) await answer(group);
  const settled: PromiseSettledResult<void>[] = [];
  for (const { request, calls, outputs, start, failure } of steps) {
    const advanced = failure ? Promise.reject(failure.error) : request.advance(calls, outputs.flat(), start);
    settled.push(...(await Promise.allSettled([advanced])));
  }
  return settled;
}

function guarded(step: Stepping, work: () => void): Stepping {
  try {
    work();
  } catch (error) {
    step.failure = { error };
  }
  return step;
}

/** Calls that may share a run. Their number is a power of two, so that there are few programs. */
function groups(slots: readonly Slot[]): Slot[][] {
  const alike: Slot[][] = [];
  for (const slot of slots) {
    const group = alike.find(([first]) => fits(first!.call, slot.call));
    if (group) group.push(slot);
    else alike.push([slot]);
  }
  return alike.flatMap((group) => {
    const { hidden_states } = group[0]!.call.inputs;
    const elements = hidden_states instanceof Tensor ? hidden_states.size : mostElements;
    const most = Math.min(mostCalls, Math.max(1, Math.floor(mostElements / elements)));
    const parts: Slot[][] = [];
    for (let left = group; left.length > 0; left = left.slice(parts.at(-1)!.length))
      parts.push(left.slice(0, 2 ** Math.floor(Math.log2(Math.min(most, left.length)))));
    return parts;
  });
}

function fits(a: ModelCall, b: ModelCall): boolean {
  if (a.model !== b.model || a.samples !== b.samples) return false;
  if (!a.session.stateless || !b.session.stateless) return false;
  const perSample = samplewise(a.model);
  const names = Object.keys(a.inputs);
  if (names.length !== Object.keys(b.inputs).length) return false;
  return names.every((name) => {
    const [one, other] = [a.inputs[name], b.inputs[name]];
    if (!(one instanceof Tensor && other instanceof Tensor) || one.dtype !== other.dtype) return false;
    if (String(one.shape) !== String(other.shape)) return false;
    // What all samples share, as positions, has to be the same.
    return perSample.has(name) || sameBytes(one, other);
  });
}

/** The inputs with a row per sample: those that begin with the axis that the hidden states begin with. */
function samplewise({ definition: { inputs } }: TransformerModel): ReadonlySet<string> {
  const tensors = inputs.filter((spec) => spec.kind !== 'other');
  const batch = tensors.find(({ name }) => name === 'hidden_states')?.shape[0];
  return new Set(tensors.flatMap(({ name, shape }) => (typeof batch === 'string' && shape[0] === batch ? [name] : [])));
}

function sameBytes(a: Tensor, b: Tensor): boolean {
  const bytes = ({ data }: Tensor) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return a === b || Buffer.compare(bytes(a), bytes(b)) === 0;
}

async function answer(group: readonly Slot[]): Promise<void> {
  if (group.length > 1) {
    try {
      const outputs = await answerTogether(group.map(({ call }) => call));
      for (const [i, { of, index }] of group.entries()) of.outputs[index] = outputs[i]!;
      return;
    } catch {
      // Whose fault it is shows when each runs alone; the others then have their answers.
    }
  }
  for (const { of, index, call } of group) {
    if (of.failure) continue;
    try {
      of.outputs[index] = await of.request.answer(call);
    } catch (error) {
      of.failure = { error };
    }
  }
}

/** The outputs of each call, as `Denoising.answer` gives them. */
async function answerTogether(calls: readonly ModelCall[]): Promise<Tensor[][]> {
  const [first] = calls as readonly [ModelCall, ...ModelCall[]];
  const { model, session, branch } = first;
  const perSample = samplewise(model);
  const joined: ForwardInputs = Object.fromEntries(
    Object.entries(first.inputs).map(([name, value]) => [
      name,
      perSample.has(name)
        ? join(
            calls.map(({ inputs }) => inputs[name] as Tensor),
            0,
          )
        : value,
    ]),
  );
  const output = await session.forward(model.prepare(joined), { branch });
  const whole = await model.present(output, joined);
  return samplesOf(whole, calls.length).map((part, i) => samplesOf(part, calls[i]!.samples));
}
