/** Test support: ranks that take turns in one thread, which start at once. */

import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { WorkRanks } from '../../models/autoencoders/side-by-side.ts';
import type { ModelOutput } from '../../models/definition.ts';
import type { GraphModel } from '../../models/graph-model.ts';
import { relativeError } from '../../models/testing/golden.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { SharedCrew } from '../backend/crew.ts';
import { ModelOnRanks } from '../backend/model-on-ranks.ts';
import { ParallelBackend } from '../backend/parallel-backend.ts';
import { RankPool } from '../backend/rank-pool.ts';
import { openThreads } from '../backend/threads.ts';
import { Mesh, type MeshSize } from '../partition/mesh.ts';
import type { Features } from '../partition/partition.ts';

/** Programs on ranks, for `moveTo`. */
export function inOneThread(
  { definition, home }: Pick<TransformerModel, 'definition' | 'home'> | Pick<GraphModel, 'definition' | 'home'>,
  size: Partial<MeshSize>,
  features: Partial<Features> = {},
): ProgramCache {
  const mesh = new Mesh({ batch: 1, ring: 1, ulysses: 1, tensor: 1, ...size });
  const pool = new RankPool(mesh.ranks, () => openThreads(mesh.ranks, { backend: 'cpu', threads: 1, worker: false }));
  const backend = new ParallelBackend({
    crew: new SharedCrew(pool, mesh),
    features: { tokens: definition.tokens ?? {}, async: false, float8: false, ...features },
    tag: '',
    home: home.backend,
  });
  return new ProgramCache(backend);
}

/** Ranks for `Autoencoder.shareOut`. */
export function tilesInOneThread({ model }: Autoencoder, count: number): WorkRanks {
  const pool = new RankPool(count, () => openThreads(count, { backend: 'cpu', threads: 1, worker: false }));
  return new ModelOnRanks({ pool, model, rank: undefined, tag: '' });
}

/** The largest relative error of any output. */
export function largestError(actual: ModelOutput, expected: ModelOutput): number {
  const list = ({ sample, audioSample }: ModelOutput) => [sample, audioSample ?? []].flat();
  return Math.max(...list(actual).map((tensor, i) => relativeError(tensor, list(expected)[i]!)));
}
