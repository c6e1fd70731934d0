/**
 * A model that every rank has for itself, so that each does pieces of work alone, and all hear what they came to: for autoencoders, whose
 * tiles are independent of each other. In this process's ranks that are threads, each has a copy of the weights.
 */
import type { Work, WorkRanks } from '../../models/autoencoders/side-by-side.ts';
import { GraphModel } from '../../models/graph-model.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { arrayClass } from '../../tensor/dtype.ts';
import { sizeOf, Tensor } from '../../tensor/tensor.ts';
import type { Collective } from '../collective/collective.ts';
import { Mesh } from '../partition/mesh.ts';
import { SharedCrew } from './crew.ts';
import { ParallelBackend } from './parallel-backend.ts';
import type { RankPool } from './rank-pool.ts';

const single = { batch: 1, ring: 1, ulysses: 1, tensor: 1 };
/** Of a tensor that is told of: how many dimensions, and those. */
const headerLength = 9;

export interface ModelOnRanksOptions {
  pool: RankPool;
  model: GraphModel;
  /** This process's rank, where the others are other processes; undefined: all are here. */
  rank: number | undefined;
  tag: string;
}

export class ModelOnRanks implements WorkRanks {
  readonly count: number;
  readonly here: number;
  /** All ranks, where they are several processes. */
  private readonly crew: SharedCrew | undefined;
  private readonly models = new Map<number, GraphModel>();
  /** By rank: what it does last. */
  private readonly latest: Promise<unknown>[];
  private told: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: ModelOnRanksOptions) {
    const { pool, rank } = options;
    this.count = pool.size;
    this.here = rank === undefined ? pool.size : 1;
    this.latest = Array<Promise<unknown>>(pool.size).fill(Promise.resolve());
    if (rank === undefined) return;
    this.crew = new SharedCrew(pool, new Mesh({ ...single, batch: pool.size }));
    this.crew.retain();
  }

  start(index: number, work: Work): Promise<Tensor> {
    const rank = index % this.count;
    const { crew, options } = this;
    if (crew && rank !== options.rank) return this.share(crew, { root: rank, made: undefined });
    const made = this.latest[rank]!.then(() => work(crew ? options.model : this.modelOf(rank)));
    this.latest[rank] = made.catch(() => undefined);
    return crew ? this.share(crew, { root: rank, made }) : made;
  }

  async dispose(): Promise<void> {
    await Promise.all([...this.latest, this.told]);
    for (const { runner, programs } of this.models.values()) {
      await runner.dispose();
      await programs.dispose();
      await programs.backend.dispose();
    }
    this.models.clear();
    await this.crew?.release();
  }

  /** Tells all processes what one of them has made, in the order in which the pieces were begun. */
  private share(
    crew: SharedCrew,
    { root, made }: { root: number; made: Promise<Tensor> | undefined },
  ): Promise<Tensor> {
    const before = this.told;
    const shared = (async () => {
      const { ranks } = await crew.ranks();
      const [{ all, groups }] = ranks as [(typeof ranks)[number]];
      const value = await made?.catch(async (error: Error) => {
        await all.abort(error);
        throw error;
      });
      await before;
      return crew.inTurn(() => tell(groups.batch!, { root, value }));
    })();
    this.told = shared.catch(() => undefined);
    return shared;
  }

  private modelOf(rank: number): GraphModel {
    let own = this.models.get(rank);
    if (!own) {
      const { pool, model, tag } = this.options;
      const { definition, weights, home } = model;
      const crew = new SharedCrew(pool, new Mesh(single), [rank]);
      const features = { tokens: {}, async: false, float8: false };
      const backend = new ParallelBackend({ crew, features, tag, home: home.backend });
      own = new GraphModel(definition, weights, new ProgramCache(backend, { maxBytes: home.maxBytes }));
      this.models.set(rank, own);
    }
    return own;
  }
}

/** What one rank has, on all of them. */
async function tell(group: Collective, { root, value }: { root: number; value: Tensor | undefined }): Promise<Tensor> {
  const header = new Int32Array(headerLength);
  if (value) header.set([value.shape.length, ...value.shape]);
  await group.broadcast(header, { root });
  const shape = value?.shape ?? [...header.subarray(1, 1 + header[0]!)];
  const data = value?.f32 ?? new (arrayClass('float32'))(sizeOf(shape));
  await group.broadcast(data, { root });
  return value ?? new Tensor('float32', data, shape);
}
