/**
 * Puts loaded models on ranks: threads of this process, or under a launcher of MPI one rank here and the others in the processes that run the
 * same program. The ranks are brought to life by the first request.
 */
import { DejaDitError } from '../errors/errors.ts';
import { leaveOutputs } from '../files/output-rank.ts';
import type { Autoencoder } from '../models/autoencoders/autoencoder.ts';
import type { GraphModel } from '../models/graph-model.ts';
import { lockAll } from '../models/occupancy.ts';
import type { TransformerModel } from '../models/transformer-model.ts';
import type { Backend } from '../runtime/backend.ts';
import { type BackendName, backendNames } from '../runtime/create-backend.ts';
import { launchedBy } from '../runtime/launched-by.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { SharedCrew } from './backend/crew.ts';
import { ModelOnRanks } from './backend/model-on-ranks.ts';
import { ParallelBackend } from './backend/parallel-backend.ts';
import { type OpenRanks, RankPool } from './backend/rank-pool.ts';
import { type ParallelismConfig, parallelismTag } from './config/parallelism-config.ts';
import { Mesh, type MeshSize } from './partition/mesh.ts';
import type { Features } from './partition/partition.ts';

/** What is put on ranks. */
export interface ParallelParts {
  transformers: readonly TransformerModel[];
  /** Their weights are cut over all ranks; of those that run along tokens as a transformer does, as that one's are. */
  models?: readonly GraphModel[];
  /** Tiles and images are shared out. */
  autoencoders?: readonly Autoencoder[];
}

/**
 * @throws DejaDitError UNSUPPORTED naming what cannot be parted, BUSY while a request is under way; nothing has changed then
 */
export function parallelize(
  { transformers, models = [], autoencoders = [] }: ParallelParts,
  config: ParallelismConfig,
): void {
  const tag = parallelismTag(config);
  const mesh = new Mesh(config.mesh);
  const plans = [
    ...transformers.map((model) => ({ model, size: config.mesh, features: featuresOf(model, config) })),
    ...models.map((model) => ({ model, ...planBeside(model, config) })),
  ];
  // Nobody may use any of them, or none is moved.
  lockAll([...plans.map(({ model }) => model), ...autoencoders.map(({ model }) => model)], 'moving it to ranks')();
  const { backend: home } = transformers[0]!.home;
  const launched = launchedBy();
  if (launched && launched.rank > 0) leaveOutputs();
  const pool = new RankPool(mesh.ranks, () =>
    launched ? openProcess(mesh.ranks, home) : openThreadsLike(home, mesh.ranks, config.threads ?? undefined),
  );
  const crews = new Map<string, SharedCrew>();
  const crewOf = (size: MeshSize) => {
    const key = JSON.stringify(size);
    const crew = crews.get(key) ?? new SharedCrew(pool, new Mesh(size));
    crews.set(key, crew);
    return crew;
  };
  for (const { model, size, features } of plans) {
    const takesTurns = model.weights.offloaded !== undefined && !launched;
    const backend = new ParallelBackend({ crew: crewOf(size), features, tag, takesTurns, home: model.home.backend });
    model.moveTo(new ProgramCache(backend, { maxBytes: model.home.maxBytes }));
  }
  for (const autoencoder of autoencoders)
    autoencoder.shareOut(new ModelOnRanks({ pool, model: autoencoder.model, rank: launched?.rank, tag }));
}

/** How a model beside the transformers is computed by as many ranks as they are. */
function planBeside(
  { definition }: GraphModel,
  { mesh, ulyssesAsync, ulyssesFloat8 }: ParallelismConfig,
): { size: MeshSize; features: Features } {
  const { batch, ring, ulysses, tensor } = mesh;
  const { tokens } = definition;
  // It is called for one guidance branch at a time.
  const size = tokens
    ? { batch: 1, ring, ulysses: batch * ulysses, tensor }
    : { batch: 1, ring: 1, ulysses: 1, tensor: batch * ring * ulysses * tensor };
  return { size, features: { tokens: tokens ?? {}, async: ulyssesAsync, float8: ulyssesFloat8 } };
}

function featuresOf(model: TransformerModel, config: ParallelismConfig): Features {
  const { ulyssesAsync, ulyssesFloat8, cpPlan, tpPlan, mesh } = config;
  const { definition, className } = model;
  const refuse = (field: string, reason: string) =>
    new DejaDitError('UNSUPPORTED', `${className} ${reason}`, { path: `parallelismConfig.${field}` });
  const tokens = cpPlan ?? definition.tokens;
  const context = mesh.ring > 1 ? 'ringSize' : 'ulyssesSize';
  if (!tokens && mesh.ring * mesh.ulysses > 1)
    throw refuse(
      context,
      `${definition.withoutTokens ?? 'does not say which of its tensors run along tokens'}; use tpSize, or give a cpPlan`,
    );
  const idle = ulyssesFloat8 ? 'ulyssesFloat8' : ulyssesAsync ? 'ulyssesAsync' : undefined;
  if (idle && definition.linearAttention && !cpPlan)
    throw refuse(idle, 'has linear attention, whose ranks exchange sums and no queries or values; leave it out');
  if (cpPlan) {
    const known = new Set([...definition.inputs.map(({ name }) => name), ...Object.keys(definition.tokens ?? {})]);
    const unknown = Object.keys(cpPlan).find((name) => !known.has(name));
    if (unknown !== undefined) throw refuse('cpPlan', `has no '${unknown}', only ${[...known].join(', ')}`);
  }
  return {
    tokens: tokens ?? {},
    async: ulyssesAsync,
    float8: ulyssesFloat8,
    cutOf: tpPlan ? (path) => tpPlan.find(([pattern]) => pattern.test(path))?.[1] : undefined,
  };
}

/** Each is loaded when it is asked for. */
async function openProcess(size: number, home: Backend): Promise<OpenRanks> {
  const { openMpiRank } = await import('./backend/mpi.ts');
  return openMpiRank(size, home);
}

async function openThreadsLike(home: Backend, size: number, threads: number | undefined): Promise<OpenRanks> {
  const { openThreads } = await import('./backend/threads.ts');
  return openThreads(size, { backend: backendOf(home), threads });
}

/** The kind of a backend, by its name. */
function backendOf({ name }: Backend): BackendName {
  return backendNames.find((kind) => name.startsWith(kind)) ?? 'cpu';
}
