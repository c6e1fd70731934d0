/**
 * One step of several requests at once: what of their calls is the same but for the samples is computed by one run with the samples of all,
 * whether they have a cache or not. Each keeps its scheduler, its cache and its noise; what it gets differs from what it gets alone by no
 * more than the order in which a kernel adds.
 */
import type { Prepared } from '../../models/definition.ts';
import { type Lane, runLanes } from '../../models/spans/runs-together.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Denoising, ModelCall } from './denoise.ts';
import { type RowsOfInputs, rowsOfInputs, sameTensor } from './rows-of-inputs.ts';

/** A request that takes a step, or has failed to. */
interface Stepping {
  request: Denoising;
  start: number;
  calls: readonly ModelCall[];
  prepared: Prepared[];
  outputs: Tensor[][];
  failure?: { error: unknown };
}

/** Calls whose inputs are equal but for the values in their rows. */
interface Kin extends RowsOfInputs {
  model: TransformerModel;
  prepared: Prepared;
}

/**
 * Takes the next step of each; what goes wrong with one is none of the others' business.
 * @returns when all is computed: for each the end of its step, which may take longer where somebody looks at a preview
 */
export async function stepsTogether(requests: readonly Denoising[]): Promise<Promise<void>[]> {
  const steps = await Promise.all(requests.map(begin));
  const kins: Kin[] = [];
  await runLanes(steps.filter(({ failure }) => !failure).flatMap((step) => lanesOf(step, kins)));
  return steps.map(({ request, calls, outputs, start, failure }) => {
    const ended = failure ? Promise.reject(failure.error) : request.advance(calls, outputs.flat(), start);
    // Whoever gets it may not look at it at once.
    ended.catch(() => undefined);
    return ended;
  });
}

async function begin(request: Denoising): Promise<Stepping> {
  const step: Stepping = { request, start: performance.now(), calls: [], prepared: [], outputs: [] };
  try {
    request.check();
    step.calls = await request.calls();
    step.prepared = step.calls.map(({ model, inputs }) => model.hostInputs(inputs));
  } catch (error) {
    step.failure = { error };
  }
  return step;
}

/** The calls of a step side by side, or, where one may decide by another, one after the other. */
function lanesOf(step: Stepping, kins: Kin[]): Lane[] {
  const calls = step.calls.map((call, index) => ({ call, index, kin: kinOf(call, step.prepared[index]!, kins) }));
  const isSideBySide = calls.every(({ call }) => call.session.stateless);
  const sequences = isSideBySide ? calls.map((call) => [call]) : [calls];
  return sequences.map(
    (sequence): Lane =>
      async (spansIn) => {
        try {
          for (const { call, index, kin } of sequence) {
            const { model } = call;
            const prepared = model.upload(step.prepared[index]!, { rows: kin?.rows, guidance: kin ? undefined : call });
            const spans = spansIn({ runner: model.runner, kin, most: kin?.most ?? 1 });
            step.outputs[index] = await step.request.answer(call, { prepared, spans });
          }
        } catch (error) {
          step.failure ??= { error };
        }
      },
  );
}

function kinOf({ model, inputs }: ModelCall, prepared: Prepared, kins: Kin[]): Kin | undefined {
  const about = rowsOfInputs(model, inputs, prepared);
  if (!about) return undefined;
  const known = kins.find((kin) => kin.model === model && kin.rows === about.rows && isEqualBesides(kin, prepared));
  if (known) return known;
  const kin = { model, prepared, ...about };
  kins.push(kin);
  return kin;
}

/** Whether what all samples share, as positions, is the same. */
function isEqualBesides({ prepared: { tensors }, rows }: Kin, { tensors: others }: Prepared): boolean {
  return Object.entries(tensors).every(([name, tensor]) => rows.has(name) || sameTensor(tensor, others[name]!));
}
