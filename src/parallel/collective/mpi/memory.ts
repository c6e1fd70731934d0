/** Arrays of the main thread as the communication thread sees them: the memory is shared, JavaScript's arrays are not. */
import type koffi from 'koffi';
import type { TypedArray } from '../../../tensor/dtype.ts';
import { typeName } from '../arrays.ts';
import type { Call } from '../call.ts';

export interface Memory {
  address: bigint;
  /** Elements. */
  length: number;
  type: string;
  bytesPerElement: number;
}

/** Calls that MPI carries out; sums of parts are taken by the rank itself. */
export type RemoteCall = Exclude<Call<Memory, Memory>, { kind: 'reduceScatter' }>;
export type MovedCall = Exclude<Call, { kind: 'reduceScatter' }>;

/** @param native whose `address` finds the memory, which the caller keeps until the call is over */
export function remoteCall(call: MovedCall, native: typeof koffi): RemoteCall {
  const memory = (array: TypedArray): Memory => ({
    address: array.length === 0 ? 0n : native.address(array),
    length: array.length,
    type: typeName(array),
    bytesPerElement: array.BYTES_PER_ELEMENT,
  });
  const entries = Object.entries(call).map(([name, value]) => [
    name,
    ArrayBuffer.isView(value) ? memory(value as TypedArray) : value,
  ]);
  return Object.fromEntries(entries) as RemoteCall;
}
