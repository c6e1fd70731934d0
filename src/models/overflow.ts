/** Where a model that computes in float16 leaves its range: found by running it once more, piece by piece, when a result shows it. */
import { DejaDitError } from '../errors/errors.ts';
import { disposeTensors } from '../runtime/tensor-table.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { ForwardInputs } from './inputs.ts';
import { blocks, listEdge, type Piece, prologue } from './pieces.ts';
import type { DeviceState } from './spans/span.ts';
import type { TransformerModel } from './transformer-model.ts';

/** @throws DejaDitError RUNTIME naming the block, if a result of a model in float16 holds NaN or infinities */
export async function refuseOverflow(model: TransformerModel, sample: Tensor, inputs: ForwardInputs): Promise<void> {
  if (model.computeDtype !== 'float16' || isAllFinite(sample)) return;
  const place = await firstOverflow(model, inputs);
  throw new DejaDitError('RUNTIME', `leaves the range of float16 in ${place}; load with computeDtype: 'float32'`, {
    path: model.className,
  });
}

async function firstOverflow(model: TransformerModel, inputs: ForwardInputs): Promise<string> {
  const { definition, runner, programs } = model;
  const pieces: [string, Piece[]][] = [['what comes before the blocks', [prologue(definition)]]];
  for (const [list, { name, count }] of definition.blockLists.entries()) {
    for (let i = 0; i < count; i++) {
      const block = [blocks(definition, { list, from: i, to: i + 1 })];
      if (i === 0) block.unshift(listEdge(definition, list, 'enter'));
      if (i === count - 1) block.push(listEdge(definition, list, 'leave'));
      pieces.push([`${name}.${i}`, block]);
    }
  }
  const prepared = model.prepare(inputs);
  const { statics } = prepared;
  let state: DeviceState = prepared.state;
  for (const [place, piece] of pieces) {
    ({ state } = await runner.run({ pieces: piece, state, statics }));
    for (const tensor of Object.values(state)) {
      if (tensor.dtype !== 'float32' || isAllFinite(await programs.backend.download(tensor, { copy: true }))) continue;
      disposeTensors(state);
      return place;
    }
  }
  disposeTensors(state);
  return 'what comes after the blocks';
}

function isAllFinite({ f32 }: Tensor): boolean {
  return f32.every(Number.isFinite);
}
