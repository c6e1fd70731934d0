/**
 * The recordings of cache-dit 1.3.5 replayed on real transformers in compat mode: the same decision at every call, the same diffs,
 * the same final latents. What the recordings are is described in `traces.test.ts`, which replays the decisions alone.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { covers } from '../../../tests/covers.ts';
import { disableCache, enableCache, refreshContext } from '../../api/enable-cache.ts';
import { summary } from '../../api/summary.ts';
import { setWarningHandler } from '../../errors/warnings.ts';
import { AutoModel } from '../../models/auto-model.ts';
import type { InputValue } from '../../models/inputs.ts';
import { isTransformer } from '../../models/registry.ts';
import { fixtures, goldenOf, relativeError } from '../../models/testing/golden.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import type { CacheOptions } from '../config/cache-config.ts';
import type { ParamsModifier } from '../config/params-modifier.ts';
import type { CallRecord } from '../report/stats.ts';

interface Run {
  name: string;
  steps: number;
  calibrator: Record<string, unknown> | null;
  cfg_mode: 'separate' | 'separate_uncond_first' | null;
  guidance: number | null;
  gain: number;
  timestep_scale: number;
  /** Sigma from which on the first of two experts is used. */
  boundary: number | null;
  requests: number;
  refresh_between: boolean;
  error: string | null;
  final: string[] | null;
}

type Layout = Record<string, { kind: string; value?: InputValue; items?: unknown[] }>;

interface Inputs {
  inputs: Record<'cond0' | 'cond1' | 'fixed', Layout>;
  timestep_key: string;
  output_channels_used: string;
}

interface Trace {
  name: string;
  config: CacheOptions;
  paramsModifiers: CacheOptions[] | null;
  contexts: { transformer: number; list: string }[];
  calls: CacheRow[] | PruneRow[];
}

type CacheRow = [
  request: number,
  step: number,
  branch: string,
  transformer: number,
  list: string,
  cached: boolean,
  diff: number | null,
];
type PruneRow = [request: number, step: number, branch: string, transformer: number, blocks: BlockRow[]];
type BlockRow = [list: string, block: number, pruned: boolean, gate: string, diff: number | null];

const readJson = <T>(...parts: string[]): T => JSON.parse(readFileSync(path.join(fixtures, ...parts), 'utf8')) as T;
const supported = (family: string) =>
  isTransformer(readJson<{ _class_name: string }>('models', family, 'config.json')._class_name);
const families = readdirSync(path.join(fixtures, 'cache/runs')).map(goldenOf).filter(supported);

describe.each(families)('cache-dit on %s', (family) => {
  const { inputs, runs } = readJson<{ inputs: Inputs; runs: Run[] }>('cache/runs', family, 'runs.json');
  const { traces } = readJson<{ traces: Trace[] }>('cache/traces', `${family}.json`);
  let models: TransformerModel[];
  let tensors: Record<string, Tensor>;
  let finals: Record<string, Tensor>;
  let restore: Parameters<typeof setWarningHandler>[0];

  beforeAll(async () => {
    restore = setWarningHandler(() => {});
    const folders = [family, `${family}_2`].map((name) => path.join(fixtures, 'models', name)).filter(existsSync);
    models = await Promise.all(folders.map((folder) => AutoModel.fromPretrained(folder)));
    tensors = await readSafetensors(path.join(fixtures, 'cache/runs', family, 'inputs.safetensors'));
    finals = await readSafetensors(path.join(fixtures, 'cache/runs', family, 'finals.safetensors'));
  });
  afterAll(async () => {
    setWarningHandler(restore);
    await Promise.all(models.map((model) => model.dispose()));
  });

  const replayable = runs.filter(({ error, name }) => !error && traces.some((trace) => trace.name === name));
  it.each(replayable.map((run) => [run.name, run] as const))('%s', async (name, run) => {
    const noted = covers({ family: models[0]!.definition.className, check: 'cache-dit' });
    const trace = traces.find((candidate) => candidate.name === name)!;
    const used = run.boundary === null ? models.slice(0, 1) : models;
    const modifiers = trace.paramsModifiers?.map((cacheConfig): ParamsModifier => ({ cacheConfig }));
    enableCache(
      { transformers: Object.fromEntries(used.map((model, i) => [`transformer_${i}`, model])) },
      {
        cacheConfig: { enable_separate_cfg: false, ...trace.config, compat: 'cache-dit' } as CacheOptions,
        ...(run.calibrator ? { calibratorConfig: { type: 'taylorseer', ...run.calibrator } } : {}),
        ...(modifiers ? { paramsModifiers: modifiers } : {}),
      },
    );
    const calls = new Map<string, CallRecord[]>();
    const latents: Tensor[] = [];
    for (let request = 0; request < run.requests; request++) {
      if (request > 0 && run.refresh_between) for (const [i, model] of used.entries()) collect(model, calls, i);
      latents.push(await denoise(run, request, used));
    }
    for (const [i, model] of used.entries()) collect(model, calls, i);
    for (const model of used) disableCache(model);

    if (/prune/i.test(String(trace.config.cache_type))) expectSameBlocks(trace.calls as PruneRow[], calls.get('0.0')!);
    else expectSameCalls(trace.calls as CacheRow[], calls);
    for (const [i, key] of (run.final ?? []).entries())
      expect(noted(relativeError(latents[i]!, finals[key]!)), key).toBeLessThan(1e-3);
  });

  /** Takes the calls of the request so far, then ends it. */
  function collect(model: TransformerModel, calls: Map<string, CallRecord[]>, index: number): void {
    for (const [group, stats] of summary(model, { details: true, logging: false }).entries()) {
      const key = `${index}.${group}`;
      calls.set(key, [...(calls.get(key) ?? []), ...stats.calls]);
    }
    refreshContext(model);
  }

  function layout(prefix: keyof Inputs['inputs']): Record<string, InputValue> {
    return Object.fromEntries(
      Object.entries(inputs.inputs[prefix]).map(([name, { kind, value, items }]) => {
        const key = `${prefix}.${name}`;
        if (items) return [name, items.map((_, i) => tensors[`${key}.${i}`]!)];
        return [name, kind === 'value' ? value : tensors[key]];
      }),
    );
  }

  async function denoise(run: Run, request: number, used: TransformerModel[]): Promise<Tensor> {
    const sigmas = tensors[`sigmas.${run.steps}`]!.f32;
    const start = tensors[request === 0 ? 'x0' : `x0.req${request}`]!;
    let x = Float32Array.from(start.f32);
    const call = async (branch: 'cond' | 'uncond', step: number): Promise<Float32Array> => {
      const sigma = sigmas[step]!;
      const model = run.boundary !== null && sigma < run.boundary ? used[1]! : used[0]!;
      // Z-Image takes and returns one tensor per sample, without a batch axis.
      const isList = family === 'zimage';
      const time = floatTensor(new Float32Array(isList ? 1 : start.dim(0)).fill(sigma * run.timestep_scale));
      const sample = floatTensor(x, start.shape);
      const { sample: out } = await model.forward({
        ...(isList ? { x: [sample] } : { hidden_states: sample }),
        [inputs.timestep_key]: time,
        ...layout('fixed'),
        ...(branch === 'cond' ? layout('cond0') : layout('cond1')),
      });
      return firstChannels(Array.isArray(out) ? out[0]! : out, start);
    };
    for (let step = 0; step < run.steps; step++) {
      let v: Float32Array;
      if (run.cfg_mode === null) v = await call('cond', step);
      else {
        const order = run.cfg_mode === 'separate' ? (['cond', 'uncond'] as const) : (['uncond', 'cond'] as const);
        const first = await call(order[0], step);
        const second = await call(order[1], step);
        const [c, u] = order[0] === 'cond' ? [first, second] : [second, first];
        v = c.map((value, i) => u[i]! + run.guidance! * (value - u[i]!));
      }
      const delta = Math.fround(sigmas[step + 1]! - sigmas[step]!);
      x = x.map((value, i) => value + delta * Math.fround(run.gain * v[i]!));
    }
    return floatTensor(x, start.shape);
  }
});

/** Models that also predict a variance return twice the channels; the first half is the sample. */
function firstChannels({ f32: data, shape }: Tensor, like: Tensor): Float32Array {
  if (data.length === like.size) return data;
  const [batch, channels] = [shape[0]!, shape[1]!];
  const perSample = data.length / batch;
  const kept = (perSample / channels) * like.dim(1);
  const out = new Float32Array(like.size);
  for (let b = 0; b < batch; b++) out.set(data.subarray(b * perSample, b * perSample + kept), b * kept);
  return out;
}

function expectSameCalls(rows: CacheRow[], calls: Map<string, CallRecord[]>): void {
  const lists = [...new Set(rows.map((row) => `${row[3]}.${row[4]}`))];
  const perTransformer = new Map<string, string[]>();
  for (const key of lists) {
    const [transformer] = key.split('.') as [string];
    perTransformer.set(transformer, [...(perTransformer.get(transformer) ?? []), key]);
  }
  for (const [transformer, keys] of perTransformer) {
    for (const [group, key] of keys.entries()) {
      const expected = rows.filter((row) => `${row[3]}.${row[4]}` === key);
      const actual = calls.get(`${transformer}.${group}`)!;
      expect(
        actual.map(({ action }) => action === 'reuse'),
        key,
      ).toEqual(expected.map((row) => row[5]));
      for (const [i, row] of expected.entries()) {
        expectSameDiff(actual[i]!.diff, row[6], `${key} call ${i}`);
      }
    }
  }
}

/** Recorded are the blocks that may be pruned. */
function expectSameBlocks(rows: PruneRow[], calls: CallRecord[]): void {
  expect(calls).toHaveLength(rows.length);
  for (const [call, [, , , , expected]] of rows.entries()) {
    const actual = calls[call]!.blocks!.map((decision, block) => ({ ...decision, block }));
    const free = actual.filter(({ gate }) => gate !== 'protected');
    expect(
      free.map(({ block, action, gate }) => [block, action === 'reuse', gate]),
      `call ${call}`,
    ).toEqual(expected.map(([, block, pruned, gate]) => [block, pruned, gate]));
    for (const [i, [, block, , , diff]] of expected.entries())
      expectSameDiff(free[i]!.diff, diff, `call ${call} block ${block}`);
  }
}

function expectSameDiff(actual: number | null, expected: number | null, where: string): void {
  if (expected === null) expect(actual, where).toBeNull();
  else expect(Math.abs(actual! - expected), where).toBeLessThanOrEqual(1e-4 * Math.abs(expected));
}
