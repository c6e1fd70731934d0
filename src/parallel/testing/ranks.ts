/** Test support: ranks that take turns in one thread, which start at once. */

import type { ModelOutput } from '../../models/definition.ts';
import { relativeError } from '../../models/testing/golden.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { SharedCrew } from '../backend/crew.ts';
import { ParallelBackend } from '../backend/parallel-backend.ts';
import { openThreads } from '../backend/threads.ts';
import { Mesh, type MeshSize } from '../partition/mesh.ts';
import type { Features } from '../partition/partition.ts';

/** Programs on ranks, for `moveTo`. */
export function inOneThread(
  { definition, home }: TransformerModel,
  size: Partial<MeshSize>,
  features: Partial<Features> = {},
): ProgramCache {
  const mesh = new Mesh({ batch: 1, ring: 1, ulysses: 1, tensor: 1, ...size });
  const crew = new SharedCrew(mesh, () => openThreads(mesh, { backend: 'cpu', threads: 1, worker: false }));
  const backend = new ParallelBackend({
    crew,
    features: { tokens: definition.tokens ?? {}, async: false, float8: false, ...features },
    tag: '',
    home: home.backend,
  });
  return new ProgramCache(backend);
}

/** The largest relative error of any output. */
export function largestError(actual: ModelOutput, expected: ModelOutput): number {
  const list = ({ sample, audioSample }: ModelOutput) => [sample, audioSample ?? []].flat();
  return Math.max(...list(actual).map((tensor, i) => relativeError(tensor, list(expected)[i]!)));
}
