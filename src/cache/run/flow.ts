/**
 * One forward call on its way through spans: pieces are collected until a decision needs a number, then run as one program. What
 * the spans return belongs to the flow, up to the end of the next span, unless it is kept.
 */
import type { Piece } from '../../models/pieces.ts';
import type { SpanResult, SpanRun, SpanRuns } from '../../models/spans/span.ts';
import type { PreparedInputs } from '../../models/transformer-model.ts';
import type { DeviceTensor } from '../../runtime/backend.ts';
import { disposeTensors } from '../../runtime/tensor-table.ts';

export type Outputs = SpanResult['outputs'];

export class Flow {
  private pieces: Piece[] = [];
  private extra: Record<string, DeviceTensor> = {};
  /** Of `extra`, what was made for this span alone. */
  private made: DeviceTensor[] = [];
  private readers: ((outputs: Outputs) => void | Promise<void>)[] = [];
  private state: PreparedInputs['state'];
  private rows: PreparedInputs['rows'];
  private readonly outputs = new Set<DeviceTensor>();
  private ids = 0;

  constructor(
    /** Who runs its spans. */
    readonly runs: SpanRuns,
    /** The flow takes them over. */
    private readonly inputs: PreparedInputs & Pick<SpanRun, 'loras' | 'signal'>,
    /** Takes the floating-point operations of the blocks that are run, by module path. */
    private readonly blockFlops: Map<string, number>,
  ) {
    this.state = inputs.state;
    this.rows = inputs.rows;
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

  /** Lends tensors that the collected pieces ask for. */
  give(tensors: Readonly<Record<string, DeviceTensor>>): void {
    Object.assign(this.extra, tensors);
  }

  /** The same for tensors that nobody else needs: they are disposed after the run. */
  giveAway(tensors: Readonly<Record<string, DeviceTensor>>): void {
    this.give(tensors);
    this.made.push(...Object.values(tensors));
  }

  /** Makes an output the caller's. */
  keep(output: DeviceTensor): DeviceTensor {
    this.outputs.delete(output);
    return output;
  }

  /** Calls `read` with the outputs of the span that is being collected, once it has run. */
  onOutputs(read: (outputs: Outputs) => void | Promise<void>): void {
    this.readers.push(read);
  }

  /** Runs what has been collected. */
  async run(): Promise<Outputs> {
    const { pieces, extra, readers, state, rows } = this;
    this.pieces = [];
    this.extra = {};
    this.readers = [];
    this.ids = 0;
    this.state = {};
    const { statics, loras, signal } = this.inputs;
    const run = { pieces, extra, state, rows, statics, loras, signal };
    const { outputs, blockFlops, ...next } = await this.runs.run(run);
    this.state = next.state;
    this.rows = next.rows;
    const before = [...this.outputs];
    for (const tensor of Object.values(outputs)) this.outputs.add(tensor);
    for (const [block, flops] of blockFlops) this.blockFlops.set(block, flops);
    for (const read of readers) await read(outputs);
    disposeTensors(this.made.splice(0));
    for (const tensor of before) if (this.outputs.delete(tensor)) tensor.dispose();
    return outputs;
  }

  /** Ends the call, wherever it has come to. */
  dispose(): void {
    disposeTensors(this.state);
    disposeTensors(this.made);
    disposeTensors(this.outputs);
    this.state = {};
  }
}
