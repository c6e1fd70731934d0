/**
 * What caching adds to a span: measuring how far the first blocks' residual has moved, handing out what the middle blocks
 * added, and adding a weighted sum of remembered tensors instead of computing them. Everything stays on the device; only
 * scalars come back.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { concat, where } from '../../graph/ops.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { SKIP, type State } from '../../models/definition.ts';
import type { Piece } from '../../models/pieces.ts';

export interface ProbeOptions {
  /** Prefix of the tensors' names in the span. */
  id: string;
  /** The first F blocks. */
  pieces: readonly Piece[];
  /** Measure against the last computed probe, given as `<id>.previous`. */
  measure: boolean;
  /** Inner products with this many remembered probes, given as `<id>.probe<i>`, newest first. */
  snapshots: number;
  /** Compare the hidden states themselves instead of their residual. */
  hiddenStates: boolean;
  /** Compare every k-th channel only. */
  downsample: number;
  /** Only tokens that have moved by more than this count; 0 counts all. */
  importantTokens: number;
}

/**
 * Runs the first blocks and outputs `<id>.probe`, what they added; where asked, `<id>.diff`, the relative L1 change since the last
 * computed step, and `<id>.gram`, the Gram matrix [B, m+1, m+1] of x₀, x₁ − x₀, …, x − x₀ (see `forecasters/gram.ts`).
 */
export function probe(options: ProbeOptions): Piece {
  const { id, pieces, measure, snapshots, hiddenStates, downsample, importantTokens } = options;
  const settings = [measure, snapshots, hiddenStates, downsample, importantTokens];
  return {
    key: `${id}.probe(${settings})[${pieces.map((piece) => piece.key)}]`,
    emit: (context) => {
      const before = context.state.hidden_states!;
      for (const piece of pieces) piece.emit(context);
      const after = context.state.hidden_states!;
      const residual = hiddenStates ? after : after.sub(before);
      const current = everyNth(residual, downsample);
      context.output(`${id}.probe`, current);
      if (measure)
        context.output(`${id}.diff`, relativeChange(context.extra(`${id}.previous`), current, importantTokens));
      if (snapshots > 0) {
        const remembered = Array.from({ length: snapshots }, (_, i) => context.extra(`${id}.probe${i}`));
        context.output(`${id}.gram`, gram([...remembered, current]));
      }
    },
  };
}

/** Every k-th channel. */
function everyNth(x: SymbolicTensor, step: number): SymbolicTensor {
  if (step === 1) return x;
  const { graph } = x;
  const bounds = [[0], [x.dim(-1)], [x.rank - 1], [step]].map((value) => graph.integers(value));
  const shape = [...x.shape.slice(0, -1), Math.ceil(x.dim(-1) / step)];
  return graph.emit('Slice', { dtype: x.dtype, shape }, { inputs: [x, ...bounds] });
}

/** mean|previous − current| / mean|previous| of each request that is computed here, a row with one number. */
function relativeChange(previous: SymbolicTensor, current: SymbolicTensor, importantTokens: number): SymbolicTensor {
  const change = previous.sub(current).abs();
  const size = previous.abs();
  if (importantTokens <= 0) return meanOf(change).div(meanOf(size));
  // Tokens below the limit weigh nothing, unless all are: then all count.
  const [tokenChange, tokenSize] = [change, size].map((x) => ofRequests(x.mean(-1))) as [
    SymbolicTensor,
    SymbolicTensor,
  ];
  const important = tokenChange.div(tokenSize).greater(importantTokens).cast('float32');
  const all = important.sum(1).equal(0);
  const weight = where(all, important.mul(0).add(1), important);
  return tokenChange.mul(weight).sum(1).div(tokenSize.mul(weight).sum(1));
}

/** A row with all elements for each request that is computed here. */
const ofRequests = (x: SymbolicTensor): SymbolicTensor => x.reshape([x.graph.shares, -1]);
/** Of all elements of each request: [requests, 1]. */
export const meanOf = (x: SymbolicTensor): SymbolicTensor => ofRequests(x).mean(1);

/** Inner products [B, n, n] of the first tensor and the others' differences from it. */
function gram(tensors: readonly SymbolicTensor[]): SymbolicTensor {
  const [first, ...others] = tensors as [SymbolicTensor, ...SymbolicTensor[]];
  const row = (x: SymbolicTensor) => x.reshape([x.dim(0), 1, -1]);
  const matrix = concat([row(first), ...others.map((x) => row(x.sub(first)))], 1);
  return matrix.matmul(matrix.transpose([0, 2, 1]));
}

export interface MiddleOptions {
  id: string;
  /** The middle blocks. */
  pieces: readonly Piece[];
  /** Output what they added, or (`hidden_states`) what they returned. */
  remember: 'residual' | 'hidden_states';
  /** Also output the Gram matrix of the new tensor and this many remembered ones, given as `<id>.hidden<i>`. */
  snapshots: number;
  /** Fail where cache-dit's encoder calibrator does: the last piece drops an encoder stream that the others changed. */
  encoderToTheEnd: boolean;
}

/** Runs the middle blocks and outputs `<id>.hidden`, and `<id>.encoder` where they change the encoder stream. */
export function middle({ id, pieces, remember, snapshots, encoderToTheEnd }: MiddleOptions): Piece {
  return {
    key: `${id}.middle(${[remember, snapshots, encoderToTheEnd]})[${pieces.map((piece) => piece.key)}]`,
    emit: (context) => {
      const before = context.state;
      let last = before;
      for (const piece of pieces) {
        last = context.state;
        piece.emit(context);
      }
      const after = context.state;
      if (encoderToTheEnd) rejectDroppedEncoder(before, last, after);
      rejectOtherChanges(before, after);
      context.state = withoutNewSkips(before, after);
      const remembered = (stream: string): SymbolicTensor =>
        remember === 'residual' ? after[stream]!.sub(before[stream]!) : after[stream]!;
      const hidden = remembered('hidden_states');
      context.output(`${id}.hidden`, hidden);
      if (
        before.encoder_hidden_states &&
        after.encoder_hidden_states &&
        before.encoder_hidden_states !== after.encoder_hidden_states
      ) {
        context.output(`${id}.encoder`, remembered('encoder_hidden_states'));
      }
      if (snapshots > 0) {
        context.output(
          `${id}.residualGram`,
          gram([hidden, ...Array.from({ length: snapshots }, (_, i) => context.extra(`${id}.hidden${i}`))]),
        );
      }
    },
  };
}

function rejectDroppedEncoder(...states: [State, State, State]): void {
  const [before, last, after] = states.map((state) => state.encoder_hidden_states);
  if (before === last || last !== after) return;
  throw new DejaDitError(
    'UNSUPPORTED',
    'cache-dit fails on blocks whose last one returns no encoder states; set it to false, or leave out compat',
    { path: 'calibratorConfig.enableEncoderCalibrator' },
  );
}

/** Skipping blocks is right only if the two streams, and long skips among themselves, are all they change. */
function rejectOtherChanges(before: State, after: State): void {
  for (const name of Object.keys(after)) {
    if (name === 'hidden_states' || name === 'encoder_hidden_states' || before[name] === after[name]) continue;
    if (isNewSkip(name, before)) continue;
    throw new DejaDitError(
      'UNSUPPORTED',
      `these blocks change '${name}' besides the hidden states, so they cannot be skipped`,
    );
  }
}

const isNewSkip = (name: string, before: State) => name.startsWith(SKIP) && !(name in before);

/** Blocks after the middle read the skips of the first blocks only (`checkBlocks`), so those of the middle end with it. */
function withoutNewSkips(before: State, after: State): State {
  return Object.fromEntries(Object.entries(after).filter(([name]) => !isNewSkip(name, before)));
}

export interface StreamReuse {
  /** Tensors summed, given as `<id>.<stream><i>`. */
  count: number;
  /** Weights [B, count] given as `<id>.<stream>Weights`; without, the one tensor as it is. */
  weighted: boolean;
}

export interface ReuseOptions {
  id: string;
  remember: 'residual' | 'hidden_states';
  hidden: StreamReuse;
  /** Absent where the encoder stream passes through. */
  encoder?: StreamReuse | undefined;
}

/** Instead of the middle blocks: Σ wᵢ·Tᵢ of remembered tensors, added to the stream (or in its place). */
export function reuse({ id, remember, hidden, encoder }: ReuseOptions): Piece {
  return {
    key: `${id}.reuse(${remember},${JSON.stringify([hidden, encoder])})`,
    emit: (context) => {
      const forecast = (stream: 'hidden' | 'encoder', { count, weighted }: StreamReuse): SymbolicTensor => {
        const tensors = Array.from({ length: count }, (_, i) => context.extra(`${id}.${stream}${i}`));
        if (!weighted) return tensors[0]!;
        const weights = context.extra(`${id}.${stream}Weights`);
        const terms = tensors.map((tensor, i) => {
          const weight = weights
            .slice(1, i, i + 1)
            .reshape([weights.dim(0), ...Array<number>(tensor.rank - 1).fill(1)]);
          return tensor.mul(weight);
        });
        return terms.reduce((sum, term) => sum.add(term));
      };
      const apply = (name: string, value: SymbolicTensor) => {
        const old = context.state[name]!;
        context.state = { ...context.state, [name]: remember === 'residual' ? value.add(old) : value };
      };
      apply('hidden_states', forecast('hidden', hidden));
      if (encoder) apply('encoder_hidden_states', forecast('encoder', encoder));
    },
  };
}
