/**
 * `ParallelismConfig`: cache-dit's fields, checks and tags, and what only is here. What the sizes mean is in docs/parallelism.md.
 */
import * as z from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import { alsoCalled, namedOptions, readOptions } from '../../errors/options.ts';
import type { MeshSize } from '../partition/mesh.ts';
import { type ExtraKind, kinds } from './extra-modules.ts';
import { type ContextPlan, parseContextPlan, parseTensorPlan, type TensorPlan } from './plans.ts';

export interface ParallelismConfig {
  /** Ranks along each axis. */
  readonly mesh: MeshSize;
  /** Queries, keys and values travel one by one, each as soon as it is there. */
  readonly ulyssesAsync: boolean;
  /** Queries, values and results of attention travel in 8 bits, a scale beside each row of a head. */
  readonly ulyssesFloat8: boolean;
  /** As given. Any number of tokens is dealt out, whatever it says. */
  readonly ulyssesAnything: boolean;
  readonly attentionBackend: string | null;
  /** Replaces what the model's family says of tokens. */
  readonly cpPlan: ContextPlan | null;
  /** Says of layers how they are cut, where it is not to be found out. */
  readonly tpPlan: TensorPlan | null;
  /** Threads of each rank that is a thread of this process; null: the processor's, shared out. */
  readonly threads: number | null;
  /** Further components of the pipeline on the ranks, by name. */
  readonly extraParallelModules: readonly string[];
  /** Further components on the ranks: all of these kinds. */
  readonly extraKinds: readonly ExtraKind[];
  /** Of the options, for error messages. */
  readonly path: string;
}

/** Fields of `ParallelismConfig` as users write them, in camelCase or in cache-dit's spelling. */
export interface ParallelismOptions {
  /** Tokens change places with heads between so many ranks ("Ulysses"). `auto`: what the other sizes leave of a job of MPI. */
  readonly ulyssesSize?: number | 'auto' | null;
  /** Keys and values go round a ring of so many ranks. */
  readonly ringSize?: number | 'auto' | null;
  /** Weights are cut over so many ranks. */
  readonly tpSize?: number | 'auto' | null;
  /** The samples of a call are shared out to so many ranks, and with them its guidance branches. */
  readonly cfgSize?: number | 'auto' | null;
  /** Components of the pipeline that are computed by all ranks too, by name: `text_encoder`, `vae`, `controlnet`. */
  readonly extraParallelModules?: readonly string[];
  readonly [field: string]: unknown;
}

const size = (...words: string[]) =>
  alsoCalled(z.union([z.int().min(1).max(4096), z.literal('auto')]).optional(), ...words);
const refused = z.unknown().optional();

/** Fields of cache-dit that start its workers: here that is done by MPI's launchers. */
const rayFields = [
  ...['useRay', 'rayNumWorkers', 'rayAddress', 'rayRuntimeEnv', 'rayInitKwargs', 'rayWorkerOptions', 'rayMasterPort'],
  ...[
    'rayAutoShutdown',
    'rayTransferBackend',
    'rayTransferCustomObj',
    'rayUseFlashpack',
    'rayUseCompile',
    'rayTransferFn',
  ],
];

const flag = (...words: string[]) => alsoCalled(z.boolean().default(false), ...words);

const fields = {
  backend: z.string().default('AUTO'),
  ulyssesSize: size('ulysses'),
  ringSize: size('ring'),
  tpSize: size('tp'),
  cfgSize: size('cfg', 'batchSize'),
  ulyssesAnything: flag('experimentalUlyssesAnything'),
  ulyssesFloat8: flag('experimentalUlyssesFloat8'),
  ulyssesAsync: flag('experimentalUlyssesAsync', 'experimentalUlyssesAsyncQkvProj'),
  ringRotateMethod: z.string().default('p2p'),
  ringConvertToFp32: z.boolean().default(true),
  attentionBackend: z.string().nullable().default(null),
  extraParallelModules: z.array(z.string(), 'must be a list of module names').default([]),
  parallelTextEncoder: flag('parallelText'),
  parallelVae: flag(),
  parallelControlnet: flag(),
  cpPlan: z.looseObject({}).nullable().default(null),
  tpPlan: z.record(z.string(), z.string()).nullable().default(null),
  threads: z.int().min(1).max(1024).nullable().default(null),
  parallelKwargs: z.looseObject({}).default({}),
  ...Object.fromEntries(rayFields.map((name) => [name, refused])),
};

/** cache-dit's names of what carries a scheme out, and which sizes each may have. */
const backends: Readonly<Record<string, { context: boolean; tensor: boolean }>> = {
  AUTO: { context: true, tensor: true },
  CACHE_DIT: { context: true, tensor: false },
  NATIVE_DIFFUSER: { context: true, tensor: false },
  NATIVE_PYTORCH: { context: false, tensor: true },
  NATIVE_HYBRID: { context: true, tensor: true },
};

/**
 * Checks options and fills in defaults.
 * @param ranks of the job of MPI that this process belongs to, where it does
 * @returns undefined for backend NONE
 * @throws DejaDitError INVALID_CONFIG naming the field; UNSUPPORTED for what is not here
 */
export function parseParallelismConfig(
  options: ParallelismOptions,
  { ranks, path = 'parallelismConfig' }: { ranks?: number | undefined; path?: string } = {},
): ParallelismConfig | undefined {
  const { parallelKwargs = {}, ...outer } = namedOptions(fields, options, path);
  const inner = namedOptions(fields, parallelKwargs, `${path}.parallelKwargs`);
  const read = readOptions(fields, { ...inner, ...outer }, path);
  const invalid = (field: string, reason: string) =>
    new DejaDitError('INVALID_CONFIG', reason, { path: `${path}.${field}` });
  const unsupported = (field: string, reason: string) =>
    new DejaDitError('UNSUPPORTED', reason, { path: `${path}.${field}` });

  const ray = rayFields.find((name) => (read as Record<string, unknown>)[name]);
  if (ray)
    throw unsupported(ray, 'ranks are started by MPI, not by Ray: run the program under mpirun or deja-dit launch');
  const name = read.backend.replace(/^ParallelismBackend\./, '').toUpperCase();
  if (name === 'NONE') return undefined;
  const backend = backends[name];
  if (!backend)
    throw invalid('backend', `unknown backend '${read.backend}', expected ${Object.keys(backends).join(', ')} or NONE`);

  const mesh = meshOf(read, { ranks, invalid });
  const context = mesh.ring * mesh.ulysses > 1;
  if (context && !backend.context) throw invalid('backend', `${name} is for tpSize alone; leave it out`);
  if (mesh.tensor > 1 && !backend.tensor)
    throw invalid('backend', `${name} is for ulyssesSize and ringSize alone; leave it out`);
  if (!context && mesh.tensor * mesh.batch === 1)
    throw invalid('ulyssesSize', 'no size is above 1: give ulyssesSize, ringSize, tpSize or cfgSize');
  for (const field of ['ulyssesAnything', 'ulyssesFloat8', 'ulyssesAsync'] as const)
    if (read[field] && mesh.ulysses === 1) throw invalid(field, 'does nothing without ulyssesSize above 1');
  if (read.ringRotateMethod !== 'p2p')
    throw unsupported(
      'ringRotateMethod',
      `'${read.ringRotateMethod}' is not here: keys and values are passed on rank to rank (p2p)`,
    );
  if (!read.ringConvertToFp32) throw unsupported('ringConvertToFp32', 'sums are always in float32 here; leave it out');
  if (read.cpPlan && !context) throw invalid('cpPlan', 'does nothing without ulyssesSize or ringSize above 1');
  if (read.tpPlan && mesh.tensor === 1) throw invalid('tpPlan', 'does nothing without tpSize above 1');
  return {
    mesh,
    ulyssesAsync: read.ulyssesAsync,
    ulyssesFloat8: read.ulyssesFloat8,
    ulyssesAnything: read.ulyssesAnything,
    attentionBackend: read.attentionBackend,
    cpPlan: read.cpPlan && parseContextPlan(read.cpPlan, `${path}.cpPlan`),
    tpPlan: read.tpPlan && parseTensorPlan(read.tpPlan, `${path}.tpPlan`),
    threads: read.threads,
    extraParallelModules: read.extraParallelModules,
    extraKinds: (Object.keys(kinds) as ExtraKind[]).filter((kind) => read[kind]),
    path,
  };
}

/** Of sizes that are not those of the job. */
export function parallelismMismatch(ranks: number, job: number): DejaDitError {
  return new DejaDitError('INVALID_CONFIG', `the sizes make ${ranks} ranks, the job of MPI has ${job}`, {
    path: 'parallelismConfig',
  });
}

type Failure = (field: string, reason: string) => DejaDitError;
type Size = number | 'auto' | undefined;

function meshOf(
  { ulyssesSize, ringSize, tpSize, cfgSize }: { ulyssesSize?: Size; ringSize?: Size; tpSize?: Size; cfgSize?: Size },
  { ranks, invalid }: { ranks: number | undefined; invalid: Failure },
): MeshSize {
  const sizes = { batch: cfgSize ?? 1, ring: ringSize ?? 1, ulysses: ulyssesSize ?? 1, tensor: tpSize ?? 1 };
  const names = { batch: 'cfgSize', ring: 'ringSize', ulysses: 'ulyssesSize', tensor: 'tpSize' } as const;
  const axes = Object.keys(sizes) as (keyof MeshSize)[];
  const open = axes.filter((axis) => sizes[axis] === 'auto');
  const given = axes.reduce(
    (product, axis) => (sizes[axis] === 'auto' ? product : product * (sizes[axis] as number)),
    1,
  );
  if (open.length > 1) throw invalid(names[open[1]!], 'only one size may be auto');
  if (open.length === 1 && ranks === undefined)
    throw invalid(names[open[0]!], 'auto is what a job of MPI has, and this process belongs to none: give a number');
  const left = (ranks ?? given) / given;
  if (ranks !== undefined && (open.length === 1 ? !Number.isInteger(left) : given !== ranks))
    throw invalid(
      names[axes.find((axis) => sizes[axis] !== 1) ?? 'ulysses'],
      `the sizes make ${given} ranks, the job of MPI has ${ranks}`,
    );
  const value = (axis: keyof MeshSize) => (sizes[axis] === 'auto' ? left : (sizes[axis] as number));
  return { batch: value('batch'), ring: value('ring'), ulysses: value('ulysses'), tensor: value('tensor') };
}

/** `Ulysses2_TP2_UAA`: cache-dit's tag. */
export function parallelismTag(config: ParallelismConfig): string {
  const { mesh, ulyssesAnything, ulyssesFloat8, ulyssesAsync, extraParallelModules, extraKinds } = config;
  const extra = (Object.keys(kinds) as ExtraKind[]).filter(
    (kind) => extraKinds.includes(kind) || extraParallelModules.some((name) => kinds[kind].pattern.test(name)),
  );
  return [
    mesh.batch > 1 && `CFG${mesh.batch}`,
    mesh.ulysses > 1 && `Ulysses${mesh.ulysses}`,
    mesh.ring > 1 && `Ring${mesh.ring}`,
    mesh.tensor > 1 && `TP${mesh.tensor}`,
    ulyssesAnything && 'UAA',
    ulyssesFloat8 && 'F8',
    ulyssesAsync && 'UAS',
    ...extra.map((kind) => kinds[kind].tag),
  ]
    .filter(Boolean)
    .join('_');
}
