/**
 * Puts loaded models on ranks: threads of this process, or under a launcher of MPI one rank here and the others in the processes that run the
 * same program. The ranks are brought to life by the first request.
 */
import { DejaDitError } from '../errors/errors.ts';
import { leaveOutputs } from '../files/output-rank.ts';
import type { TransformerModel } from '../models/transformer-model.ts';
import type { Backend } from '../runtime/backend.ts';
import { type BackendName, backendNames } from '../runtime/create-backend.ts';
import { launchedBy } from '../runtime/launched-by.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { type Crew, SharedCrew } from './backend/crew.ts';
import { ParallelBackend } from './backend/parallel-backend.ts';
import { type ParallelismConfig, parallelismTag } from './config/parallelism-config.ts';
import { Mesh } from './partition/mesh.ts';
import type { Features } from './partition/partition.ts';

/**
 * @throws DejaDitError UNSUPPORTED naming what cannot be parted, BUSY while a request is under way; nothing has changed then
 */
export function parallelize(models: readonly TransformerModel[], config: ParallelismConfig): void {
  const tag = parallelismTag(config);
  const plans = models.map((model) => ({ model, features: featuresOf(model, config) }));
  const mesh = new Mesh(config.mesh);
  const [first] = models;
  const home = first!.home.backend;
  const launched = launchedBy();
  if (launched && launched.rank > 0) leaveOutputs();
  const crew = new SharedCrew(mesh, () =>
    launched ? openProcess(mesh, home) : openThreadsLike(home, { mesh, threads: config.threads ?? undefined }),
  );
  for (const { model, features } of plans) {
    const backend = new ParallelBackend({ crew, features, tag, home: model.home.backend });
    model.moveTo(new ProgramCache(backend, { maxBytes: model.home.maxBytes }));
  }
}

function featuresOf(model: TransformerModel, config: ParallelismConfig): Features {
  const { ulyssesAsync, ulyssesFloat8, cpPlan, tpPlan, mesh } = config;
  const { definition, className } = model;
  const refuse = (field: string, reason: string) =>
    new DejaDitError('UNSUPPORTED', `${className} ${reason}`, { path: `parallelismConfig.${field}` });
  if (model.weights.offloaded && mesh.batch > 1)
    throw refuse(
      'cfgSize',
      'reads its blocks from the files one after the other (layerwiseOffload), so guidance branches cannot run side by side: use another size, or load it whole',
    );
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
async function openProcess(mesh: Mesh, home: Backend): Promise<Crew> {
  const { openMpiRank } = await import('./backend/mpi.ts');
  return openMpiRank(mesh, home);
}

async function openThreadsLike(
  home: Backend,
  { mesh, threads }: { mesh: Mesh; threads: number | undefined },
): Promise<Crew> {
  const { openThreads } = await import('./backend/threads.ts');
  return openThreads(mesh, { backend: backendOf(home), threads });
}

/** The kind of a backend, by its name. */
function backendOf({ name }: Backend): BackendName {
  return backendNames.find((kind) => name.startsWith(kind)) ?? 'cpu';
}
