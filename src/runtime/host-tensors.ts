/** Host tensors in, host tensors out: moving several at a time, and leaving nothing on the device if one of them fails. */
import type { Graph } from '../graph/graph.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Backend, DeviceTensor } from './backend.ts';
import type { ProgramCache } from './program-cache.ts';
import { disposeTensors } from './tensor-table.ts';

/** Uploads all; the caller owns what is returned. */
export function uploadAll(
  backend: Pick<Backend, 'upload'>,
  tensors: Readonly<Record<string, Tensor>>,
): Record<string, DeviceTensor> {
  const uploaded: Record<string, DeviceTensor> = {};
  try {
    for (const [name, tensor] of Object.entries(tensors)) uploaded[name] = backend.upload(tensor);
    return uploaded;
  } catch (error) {
    disposeTensors(uploaded);
    throw error;
  }
}

/** Downloads all, and disposes them, whether that succeeds or not. */
export async function takeDown(
  backend: Pick<Backend, 'download'>,
  tensors: Readonly<Record<string, DeviceTensor>>,
): Promise<Record<string, Tensor>> {
  try {
    const entries = Object.entries(tensors).map(
      async ([name, tensor]) => [name, await backend.download(tensor)] as const,
    );
    return Object.fromEntries(await Promise.all(entries));
  } finally {
    disposeTensors(tensors);
  }
}

/** Runs a graph once on host tensors. @param weights further inputs, which stay the caller's */
export async function runOnce(
  programs: ProgramCache,
  graph: Graph,
  {
    inputs,
    weights = {},
  }: { inputs: Readonly<Record<string, Tensor>>; weights?: Readonly<Record<string, DeviceTensor>> },
): Promise<Record<string, Tensor>> {
  const { backend } = programs;
  const program = await programs.program(graph);
  try {
    const uploaded = uploadAll(backend, inputs);
    try {
      return await takeDown(backend, await program.run({ ...uploaded, ...weights }));
    } finally {
      disposeTensors(uploaded);
    }
  } finally {
    program.release();
  }
}
