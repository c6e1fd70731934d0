/**
 * Trials: small graphs that are run on a backend when it is created, with results that are known. What a backend can do is found so, and
 * not from names or flags: those say what a library might use, a result says what it does.
 */
import type { Graph } from '../../graph/graph.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Backend } from '../backend.ts';
import { takeDown, uploadAll } from '../host-tensors.ts';
import { disposeTensors } from '../tensor-table.ts';

/** What trials need of a backend. */
export type Trial = Pick<Backend, 'compile' | 'upload' | 'download'>;

export async function runTrial(
  backend: Trial,
  graph: Graph,
  inputs: Readonly<Record<string, Tensor>>,
): Promise<Record<string, Tensor>> {
  const executable = await backend.compile(graph);
  try {
    const uploaded = uploadAll(backend, inputs);
    try {
      return await takeDown(backend, await executable.run(uploaded));
    } finally {
      disposeTensors(uploaded);
    }
  } finally {
    await executable.dispose();
  }
}
