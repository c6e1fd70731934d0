import { describe, expect, it } from 'vitest';
import { type ParallelismOptions, parallelismTag, parseParallelismConfig } from './parallelism-config.ts';

const mesh = (options: ParallelismOptions, ranks?: number) => parseParallelismConfig(options, { ranks })?.mesh;

describe('parseParallelismConfig', () => {
  it('takes the names of Python, of YAML files, and of the container of older ones', () => {
    const expected = { batch: 1, ring: 1, ulysses: 2, tensor: 2 };
    expect(mesh({ ulysses_size: 2, tp_size: 2 })).toEqual(expected);
    expect(mesh({ ulysses: 2, tp: 2 })).toEqual(expected);
    expect(mesh({ ulyssesSize: 2, tpSize: 2, backend: 'NATIVE_HYBRID' })).toEqual(expected);
    const nested = parseParallelismConfig({
      ulysses_size: 2,
      parallel_kwargs: { experimental_ulysses_anything: true },
    });
    expect(nested?.ulyssesAnything).toBe(true);
  });

  it('fills in auto from the ranks of a job', () => {
    expect(mesh({ ulyssesSize: 'auto', tpSize: 2 }, 8)).toEqual({ batch: 1, ring: 1, ulysses: 4, tensor: 2 });
  });

  it('is nothing for backend NONE', () => {
    expect(parseParallelismConfig({ backend: 'NONE', ulyssesSize: 2 })).toBeUndefined();
  });

  it.each<[ParallelismOptions, string, number?]>([
    [{}, 'ulyssesSize: no size is above 1'],
    [{ ulyssesSize: 0 }, 'ulyssesSize: must be at least 1'],
    [{ ulysses_sice: 2 }, 'unknown key "ulysses_sice"'],
    [{ ulyssesSize: 'auto' }, 'ulyssesSize: auto is what a job of MPI has'],
    [{ ulyssesSize: 'auto', tpSize: 'auto' }, 'tpSize: only one size may be auto', 4],
    [{ ulyssesSize: 3 }, 'the sizes make 3 ranks, the job of MPI has 4', 4],
    [{ tpSize: 2, backend: 'NATIVE_DIFFUSER' }, 'backend: NATIVE_DIFFUSER is for ulyssesSize and ringSize alone'],
    [{ ringSize: 2, backend: 'native_pytorch' }, 'backend: NATIVE_PYTORCH is for tpSize alone'],
    [{ ulyssesSize: 2, backend: 'nccl' }, "backend: unknown backend 'nccl'"],
    [{ ringSize: 2, ulysses_float8: true }, 'ulyssesFloat8: does nothing without ulyssesSize above 1'],
    [{ ringSize: 2, ulyssesAsync: true }, 'ulyssesAsync: does nothing without ulyssesSize above 1'],
    [{ ringSize: 2, ringRotateMethod: 'allgather' }, "ringRotateMethod: 'allgather' is not here"],
    [{ tpSize: 2, use_ray: true }, 'useRay: ranks are started by MPI'],
    [{ tpSize: 2, extra_parallel_modules: 'vae' }, 'extraParallelModules: must be a list of module names'],
    [{ tpSize: 2, cpPlan: { '': {} } }, 'cpPlan: does nothing without'],
    [{ ulyssesSize: 2, cpPlan: { proj_out: { gather_dim: 1 } } }, 'cpPlan: splits no input'],
    [{ tpSize: 2, tpPlan: { 'blocks.*.to_q': 'columns' } }, 'must be colwise, rowwise or replicate'],
  ])('refuses %j', (options, message, ranks) => {
    expect(() => parseParallelismConfig(options, { ranks })).toThrow(message);
  });

  it('reads plans', () => {
    const plan = {
      '': { hidden_states: { split_dim: 1, expected_dims: 3 }, img_ids: { split_dim: 0 } },
      proj_out: { gather_dim: 1 },
    };
    expect(parseParallelismConfig({ ulyssesSize: 2, cp_plan: plan })?.cpPlan).toEqual({ hidden_states: 1, img_ids: 0 });
    const [[pattern, cut]] = parseParallelismConfig({ tpSize: 2, tp_plan: { 'blocks.*.attn.to_q': 'colwise' } })!
      .tpPlan as [[RegExp, string]];
    expect([pattern.test('blocks.10.attn.to_q'), pattern.test('blocks.10.attn.to_k'), cut]).toEqual([
      true,
      false,
      'colwise',
    ]);
  });

  it('has cache-dit’s tag', () => {
    expect(
      parallelismTag(
        parseParallelismConfig({ ulyssesSize: 2, ringSize: 2, tpSize: 2, ulyssesAnything: true, ulyssesFloat8: true })!,
      ),
    ).toBe('Ulysses2_Ring2_TP2_UAA_F8');
    const extra = { extra_parallel_modules: ['vae', 'text_encoder_2'], parallel_controlnet: true };
    expect(parallelismTag(parseParallelismConfig({ tpSize: 2, ...extra })!)).toBe('TP2_TEP_VAEP_CNP');
  });
});
