/**
 * Uncached requests with an eye on what a cache would forecast: inner products between the true residuals of all steps, summed
 * over requests and guidance branches. That is all that fitting weights takes (`forecasters/fit.ts`). A recorder takes the place of
 * a cache, in `generate({ cache: recorder })` or a model's `newSession`.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { epilogue, prologue } from '../../models/pieces.ts';
import type {
  ForwardSession,
  SessionFactory,
  SessionOptions,
  TransformerModel,
} from '../../models/transformer-model.ts';
import { type BlockGroup, sectionsOf } from '../adapters/block-group.ts';
import { Flow } from './flow.ts';
import { middle } from './pieces.ts';

export class TrajectoryRecorder implements SessionFactory {
  /** [steps, steps]; every trajectory counts the same, whatever its size. */
  readonly gram: number[][] = [];
  /** Trajectories added: requests times branches. */
  count = 0;
  private readonly group: BlockGroup;

  /**
   * @param firstBlocks F: the blocks that a cache computes on every step
   * @throws DejaDitError UNSUPPORTED unless the model's blocks form one cached group
   */
  constructor(
    private readonly model: TransformerModel,
    private readonly firstBlocks = 1,
  ) {
    const sections = sectionsOf(model.definition);
    const [section] = sections;
    if (sections.length !== 1 || section?.kind !== 'group')
      throw new DejaDitError('UNSUPPORTED', `${model.className} has more than one group of blocks to forecast`);
    this.group = section.group;
  }

  /** A request in which every call is computed, and recorded. */
  newSession({ loras }: SessionOptions): ForwardSession {
    const { group, firstBlocks } = this;
    const { definition, runner, programs } = this.model;
    const first = group.range(0, firstBlocks);
    const pieces = group.range(firstBlocks, group.count);
    const trajectories = new Map<string, Float32Array[]>();
    return {
      forward: async (inputs, { branch = '', signal }) => {
        const flow = new Flow(runner, { ...inputs, loras, signal }, new Map());
        const id = 'middle';
        flow.add(prologue(definition), group.enter, ...first);
        flow.add(
          middle({ id, pieces, remember: 'residual', snapshots: 0, encoderToTheEnd: false }),
          group.leave,
          epilogue(definition),
        );
        try {
          const { [`${id}.hidden`]: hidden, sample } = await flow.run();
          const residual = (await programs.backend.download(hidden!)).f32;
          trajectories.set(branch, [...(trajectories.get(branch) ?? []), residual.slice()]);
          return flow.keep(sample!);
        } finally {
          flow.dispose();
        }
      },
      end: () => {
        for (const trajectory of trajectories.values()) this.add(trajectory);
      },
    };
  }

  /** Adds the residuals of one request's branch, step by step. Requests that ended early are left out. */
  add(trajectory: readonly Float32Array[]): void {
    const steps = trajectory.length;
    if (this.gram.length === 0)
      this.gram.push(...Array.from({ length: steps }, () => new Array<number>(steps).fill(0)));
    if (steps !== this.gram.length) return;
    const products = trajectory.map((a) => trajectory.map((b) => dot(a, b)));
    const size = products.reduce((total, row, i) => total + row[i]! / steps, 0);
    for (const [i, row] of products.entries())
      for (const [j, product] of row.entries()) this.gram[i]![j]! += product / size;
    this.count++;
  }
}

function dot(a: Float32Array, b: Float32Array): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i]! * b[i]!;
  return total;
}
