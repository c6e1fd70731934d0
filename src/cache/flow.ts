/**
 * One forward call on its way through spans: pieces are collected until a decision needs a number, then run as one program.
 */
import type { Piece, SpanResult, SpanRunner } from '../models/span.ts';
import type { PreparedInputs } from '../models/transformer-model.ts';
import type { DeviceTensor } from '../runtime/backend.ts';

export type Outputs = SpanResult['outputs'];

export class Flow {
  private pieces: Piece[] = [];
  private extra: Record<string, DeviceTensor> = {};
  private readers: ((outputs: Outputs) => void | Promise<void>)[] = [];
  private state: PreparedInputs['state'];
  private ids = 0;

  constructor(
    private readonly runner: SpanRunner,
    private readonly inputs: PreparedInputs & { signal?: AbortSignal | undefined },
    /** Takes the floating-point operations of the blocks that are run, by module path. */
    private readonly blockFlops: Map<string, number>,
  ) {
    this.state = inputs.state;
  }

  /** Shapes of the call's inputs, for telling whether remembered tensors still fit. */
  get shapes(): string {
    return Object.entries(this.inputs.state)
      .map(([name, { shape }]) => `${name}[${shape}]`)
      .join();
  }

  add(...pieces: readonly Piece[]): void {
    this.pieces.push(...pieces);
  }

  /** A prefix for tensor names that is new in this span, and the same in equal spans, so that they share a program. */
  newId(): string {
    return `r${this.ids++}`;
  }

  /** Tensors that the collected pieces ask for. */
  give(tensors: Readonly<Record<string, DeviceTensor>>): void {
    Object.assign(this.extra, tensors);
  }

  /** Calls `read` with the outputs of the span that is being collected, once it has run. */
  onOutputs(read: (outputs: Outputs) => void | Promise<void>): void {
    this.readers.push(read);
  }

  /** Runs what has been collected. */
  async run(): Promise<Outputs> {
    const { pieces, extra, readers } = this;
    this.pieces = [];
    this.extra = {};
    this.readers = [];
    this.ids = 0;
    const { state, outputs, blockFlops } = await this.runner.run({
      pieces,
      extra,
      state: this.state,
      statics: this.inputs.statics,
      signal: this.inputs.signal,
    });
    this.state = state;
    for (const [block, flops] of blockFlops) this.blockFlops.set(block, flops);
    for (const read of readers) await read(outputs);
    return outputs;
  }
}
