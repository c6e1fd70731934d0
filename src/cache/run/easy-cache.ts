/**
 * EasyCache (Zhou et al. 2025, arXiv 2507.02860): skips whole calls of a transformer, so that it needs to know nothing of its
 * blocks. Between two steps a denoiser's output moves about in proportion to its input; how fast, is measured between the latest
 * two computed steps. A step is skipped while the movement so estimated, summed since the last computed step, stays below the
 * threshold; its output is then taken to be the last computed one plus what the input has moved.
 *
 * With inputs x and outputs v, i and j the latest two computed steps: k = |vᵢ − vⱼ| / |xᵢ − xⱼ|, E = Σ k·|xₙ − xₙ₋₁| / |vᵢ| over
 * the steps n since i, v ≈ vᵢ + (x − xᵢ); |·| is the mean of absolute values.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { concat } from '../../graph/ops.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import type { Transformer } from '../../models/definition.ts';
import { type Piece, prologue, wholeList } from '../../models/pieces.ts';
import type { SpanRuns } from '../../models/spans/span.ts';
import type { PreparedInputs, TransformerModel } from '../../models/transformer-model.ts';
import type { DeviceTensor } from '../../runtime/backend.ts';
import { takeDown } from '../../runtime/host-tensors.ts';
import { disposeTensors } from '../../runtime/tensor-table.ts';
import type { DBCacheConfig } from '../config/cache-config.ts';
import { decideByDiff, preDecide } from '../decide/decide.ts';
import type { Resolved } from '../decide/resolved-config.ts';
import { beginStep, branchState, type CacheState, newCacheState } from '../decide/state.ts';
import type { CallRecord } from '../report/stats.ts';
import type { Flow } from './flow.ts';
import type { RequestCache } from './group-cache.ts';
import { bytesOf } from './memory.ts';
import { meanOf } from './pieces.ts';

/** What is remembered of a guidance branch. */
interface Memory {
  /** Input and output of the last computed step, and the mean absolute value of the output. */
  input: DeviceTensor;
  output: DeviceTensor;
  size: number;
  /** k; undefined after the first computed step. */
  rate: number | undefined;
  /** Input of the latest step, where that is not the computed one, and E. */
  latest: DeviceTensor | undefined;
  moved: number;
  shapes: string;
}

export class EasyCache implements RequestCache {
  readonly state: CacheState = newCacheState();
  readonly calls: CallRecord[] = [];
  private readonly memories = new Map<string, Memory>();

  constructor(
    private readonly model: TransformerModel,
    private readonly config: Resolved<DBCacheConfig>,
  ) {}

  get bytes(): number {
    let total = 0;
    for (const memory of this.memories.values()) for (const tensor of tensorsOf(memory)) total += bytesOf(tensor);
    return total;
  }

  /** One call of the transformer: computed, or put together from what is remembered. */
  async forward(
    flow: Flow,
    { state: { hidden_states: input } }: PreparedInputs,
    branch?: string,
  ): Promise<DeviceTensor> {
    const { state, config } = this;
    if (!input) throw unsuitable("it takes no single 'hidden_states'");
    if (beginStep({ state, config, branch }) !== undefined) this.clear();
    const { current } = state;
    let memory = this.memories.get(current.branch);
    const shapeChanged = memory !== undefined && memory.shapes !== flow.shapes;
    if (shapeChanged) {
      this.forget(current.branch);
      memory = undefined;
    }
    // How fast the output moves is known from the second computed step on.
    branchState(state, current.branch).computed = memory?.rate !== undefined;
    const early = preDecide({ state, config, shapeChanged });
    const skipped = memory && early?.action !== 'compute' ? await this.skip(flow.runs, memory, input) : undefined;
    const decision = early ?? decideByDiff({ state, config, diff: memory!.moved });
    this.calls.push({ ...decision, ...current });
    if (decision.action === 'reuse') return skipped!;
    skipped?.dispose();
    return this.compute(flow);
  }

  clear(): void {
    for (const branch of [...this.memories.keys()]) this.forget(branch);
  }

  private forget(branch: string): void {
    disposeTensors(tensorsOf(this.memories.get(branch)!));
    this.memories.delete(branch);
  }

  /** What the step would be if it were skipped; adds the step's movement to the memory. */
  private async skip(runs: SpanRuns, memory: Memory, input: DeviceTensor): Promise<DeviceTensor> {
    const { input: computed, output, latest } = memory;
    const { outputs } = await runs.run({
      pieces: [skipPiece],
      state: { hidden_states: input.retain() },
      rows: new Set(['hidden_states']),
      extra: { latest: latest ?? computed, input: computed, output },
    });
    latest?.dispose();
    memory.latest = outputs.input!;
    try {
      const [change] = await this.numbers(outputs.change!);
      memory.moved += (memory.rate! * change!) / memory.size;
      return outputs.sample!;
    } catch (error) {
      outputs.sample!.dispose();
      throw error;
    }
  }

  private async compute(flow: Flow): Promise<DeviceTensor> {
    const { branch } = this.state.current;
    const before = this.memories.get(branch);
    flow.add(...measuredForward(this.model.definition, { compare: before !== undefined }));
    if (before) flow.give({ input: before.input, output: before.output });
    const outputs = await flow.run();
    const [size, outputChange, inputChange] = await this.numbers(flow.keep(outputs.measured!));
    const rate = before && outputChange! / inputChange!;
    if (before) this.forget(branch);
    this.memories.set(branch, {
      input: flow.keep(outputs.input!),
      output: flow.keep(outputs.output!),
      size: size!,
      rate,
      latest: undefined,
      moved: 0,
      shapes: flow.shapes,
    });
    return flow.keep(outputs.sample!);
  }

  /** A tensor's values; it is not needed afterwards. */
  private async numbers(tensor: DeviceTensor): Promise<number[]> {
    const { values } = await takeDown(this.model.programs.backend, { values: tensor });
    return Array.from(values!.f32);
  }
}

const tensorsOf = ({ input, output, latest }: Memory): DeviceTensor[] =>
  latest ? [input, output, latest] : [input, output];

const skipPiece: Piece = {
  key: 'easy.skip',
  emit: (context) => {
    const input = context.state.hidden_states!;
    const output = context.extra('output');
    context.output('sample', output.add(asOutput(input.sub(context.extra('input')), output)));
    // The caller's tensors are the caller's: what is remembered is a copy.
    context.output('input', input);
    context.output('change', meanAbsolute(input.sub(context.extra('latest'))));
    context.state = {};
  },
};

/** The whole forward, with `measured`: |v| and, where there is something to compare with, |v − vⱼ| and |x − xⱼ|. */
function measuredForward(model: Transformer, { compare }: { compare: boolean }): Piece[] {
  let input: SymbolicTensor | undefined;
  const begin: Piece = {
    key: 'easy.begin',
    emit: (context) => {
      input = context.state.hidden_states;
    },
  };
  const end: Piece = {
    key: `easy.end(${compare})`,
    emit: (context) => {
      const sample = model.epilogue(context.root, context.state, context.statics);
      asOutput(input!, sample);
      const changes = compare ? [sample.sub(context.extra('output')), input!.sub(context.extra('input'))] : [];
      context.output('sample', sample);
      context.output('output', sample);
      context.output('input', input!);
      context.output('measured', concat([sample, ...changes].map(meanAbsolute), 1));
      context.state = {};
    },
  };
  return [begin, prologue(model), ...model.blockLists.flatMap((_, list) => wholeList(model, list)), end];
}

const meanAbsolute = (x: SymbolicTensor): SymbolicTensor => meanOf(x.abs());

/** A change of the input as one of the output: the same, or, where the output has further channels (a variance), none in these. */
function asOutput(change: SymbolicTensor, output: SymbolicTensor): SymbolicTensor {
  const more = output.rank > 1 ? output.dim(1) - change.dim(1) : 0;
  const fits =
    output.rank === change.rank && output.shape.every((dim, axis) => axis === 1 || dim === change.shape[axis]);
  if (!fits || more < 0) throw unsuitable(`it turns [${change.shape}] into [${output.shape}]`);
  if (more === 0) return change;
  const shape = output.shape.map((dim, axis) => (axis === 1 ? more : dim));
  return concat([change, change.graph.scalar(0).expand(shape)], 1);
}

const unsuitable = (reason: string) =>
  new DejaDitError('UNSUPPORTED', `EasyCache needs a model whose output has the shape of its input; ${reason}`, {
    path: 'cacheConfig.cacheType',
  });
