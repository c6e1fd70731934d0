/** One call as transports get it: checked, counts filled in. What is checked here is this rank's own; `signature` is for comparing ranks. */
import { DejaDitError } from '../../errors/errors.ts';
import type { TypedArray } from '../../tensor/dtype.ts';
import { typeName } from './arrays.ts';
import type { Reduction, SummableArray } from './collective.ts';

/** @typeParam A how arrays are given, and S those that are summed */
export type Call<A = TypedArray, S = SummableArray> =
  | { kind: 'allReduce'; data: S; operation: Reduction }
  | { kind: 'allGather'; send: A; receive: A; counts: readonly number[] }
  | { kind: 'reduceScatter'; send: S; receive: S; counts: readonly number[]; operation: Reduction }
  | { kind: 'allToAll'; send: A; receive: A; sendCounts: readonly number[]; receiveCounts: readonly number[] }
  | { kind: 'exchange'; send: A; to: number; receive: A; from: number }
  | { kind: 'broadcast'; data: A; root: number }
  | { kind: 'barrier' };

/** What all ranks must agree on, in words for the message if they do not. */
export function signature(call: Call): string {
  switch (call.kind) {
    case 'allReduce':
      return `allReduce (${call.operation}) of ${call.data.length} ${typeName(call.data)}`;
    case 'allGather':
      return `allGather of ${parts(call.counts)} ${typeName(call.send)}`;
    case 'reduceScatter':
      return `reduceScatter (${call.operation}) of ${parts(call.counts)} ${typeName(call.send)}`;
    case 'allToAll':
    case 'exchange':
      return `${call.kind} of ${typeName(call.send)}`;
    case 'broadcast':
      return `broadcast of ${call.data.length} ${typeName(call.data)} from rank ${call.root}`;
    case 'barrier':
      return 'barrier';
  }
}

/** @throws DejaDitError INVALID_ARGUMENT if this rank's arrays cannot be those of such a call */
export function checkCall(call: Call, { rank, size }: { rank: number; size: number }): void {
  const refuse = (message: string): never => {
    throw new DejaDitError('INVALID_ARGUMENT', message, { path: call.kind });
  };
  const checkCounts = (name: string, counts: readonly number[], array: { name: string; length: number }) => {
    if (counts.length !== size) refuse(`${name} has ${counts.length} entries for ${size} ranks`);
    if (!counts.every((count) => Number.isSafeInteger(count) && count >= 0))
      refuse(`${name} must be whole numbers from 0, got ${counts}`);
    const sum = counts.reduce((a, b) => a + b, 0);
    if (sum !== array.length) refuse(`${name} sum to ${sum}, but ${array.name} has ${array.length} elements`);
  };
  const checkRank = (name: string, value: number) => {
    if (!Number.isInteger(value) || value < 0 || value >= size)
      refuse(`${name} must be a rank, 0 to ${size - 1}, got ${value}`);
  };
  if ('send' in call && call.send.constructor !== call.receive.constructor)
    refuse(`send is ${typeName(call.send)}, receive is ${typeName(call.receive)}`);
  const of = (name: 'send' | 'receive', array: TypedArray) => ({ name, length: array.length });
  switch (call.kind) {
    case 'allGather':
      checkCounts('counts', call.counts, of('receive', call.receive));
      if (call.send.length !== call.counts[rank])
        refuse(`send has ${call.send.length} elements, counts say ${call.counts[rank]} for rank ${rank}`);
      break;
    case 'reduceScatter':
      checkCounts('counts', call.counts, of('send', call.send));
      if (call.receive.length !== call.counts[rank])
        refuse(`receive has ${call.receive.length} elements, counts say ${call.counts[rank]} for rank ${rank}`);
      break;
    case 'allToAll':
      checkCounts('sendCounts', call.sendCounts, of('send', call.send));
      checkCounts('receiveCounts', call.receiveCounts, of('receive', call.receive));
      break;
    case 'exchange':
      checkRank('to', call.to);
      checkRank('from', call.from);
      break;
    case 'broadcast':
      checkRank('root', call.root);
      break;
  }
}

function parts(counts: readonly number[]): string {
  return counts.every((count) => count === counts[0]) ? `${counts.length} × ${counts[0]}` : counts.join(' + ');
}
