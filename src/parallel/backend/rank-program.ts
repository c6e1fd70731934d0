/** One rank's side of a program: its sections, compiled, and the collectives between them. */
import { cutGraph, type Section } from '../../graph/cut.ts';
import type { Graph, GraphNode } from '../../graph/graph.ts';
import type { DeviceTensor } from '../../runtime/backend.ts';
import type { Program } from '../../runtime/program-cache.ts';
import { runSections, type Stage } from '../../runtime/section-runner.ts';
import { arrayClass, type DType, type TypedArray } from '../../tensor/dtype.ts';
import { sizeOf, Tensor } from '../../tensor/tensor.ts';
import type { Collective, SummableArray } from '../collective/collective.ts';
import { allToAllFloat8 } from '../collective/float8.ts';
import type { GroupName } from '../partition/mesh.ts';
import type { Rank } from './crew.ts';

type Tensors = Readonly<Record<string, DeviceTensor>>;

export class RankProgram {
  private constructor(
    private readonly rank: Rank,
    private readonly graph: Graph,
    private readonly sections: readonly { section: Section<never>; program: Program | undefined }[],
  ) {}

  static async compile(rank: Rank, graph: Graph): Promise<RankProgram> {
    const compiled: { section: Section<never>; program: Program | undefined }[] = [];
    try {
      for (const section of cutGraph<never>(graph))
        compiled.push({
          section,
          program: section.collective ? undefined : await rank.programs.program(section.graph),
        });
    } catch (error) {
      for (const { program } of compiled) program?.release();
      throw error;
    }
    return new RankProgram(rank, graph, compiled);
  }

  /** @param weights parts of weights by name; both stay the caller's */
  run(inputs: Tensors, weights: Tensors): Promise<Record<string, DeviceTensor>> {
    // Collectives begin in order, as on all other ranks, though what they send may be there in another.
    let turn: Promise<unknown> = Promise.resolve();
    const stages = this.sections.map(({ section, program }): Stage => {
      if (program)
        return {
          section,
          run: (feeds) => {
            const bound = section.graph.weights.map(({ slot, name }) => [slot, weights[name]!]);
            return program.run({ ...feeds, ...Object.fromEntries(bound) });
          },
        };
      return {
        section,
        background: true,
        run: (feeds) => {
          const sent = this.download(feeds, section.collective!);
          const begun = Promise.all([sent, turn]).then(([data]) => ({
            call: this.exchange(data, section.collective!),
          }));
          turn = begun.catch(() => undefined);
          return begun.then(async ({ call }) => this.upload(await call, section));
        },
      };
    });
    return runSections({ graph: this.graph, stages, inputs });
  }

  release(): void {
    for (const { program } of this.sections) program?.release();
  }

  /** What a collective sends, in memory of its own. */
  private async download(feeds: Tensors, node: GraphNode): Promise<TypedArray> {
    const [x] = Object.values(feeds);
    if (x) return (await this.rank.backend.download(x, { copy: true })).data;
    return new (arrayClass(node.specs[0]?.dtype ?? 'float32'))(0);
  }

  private upload(data: TypedArray, { collective, outputs }: Section<never>): Tensors {
    const [spec] = collective!.specs;
    const [name] = outputs.keys();
    // Nothing comes of it for a rank that gets nothing.
    if (!spec || name === undefined) return {};
    return { [name]: this.rank.backend.upload(new Tensor(spec.dtype, data, spec.shape), { transfer: true }) };
  }

  private async exchange(send: TypedArray, { op, attributes, specs }: GraphNode): Promise<TypedArray> {
    const group = this.group(attributes['group'] as GroupName);
    const numbers = (name: string) => attributes[name] as readonly number[];
    const receive = (): TypedArray =>
      new (arrayClass(specs[0]?.dtype ?? 'float32'))(specs[0] ? sizeOf(specs[0].shape) : 0);
    switch (op) {
      case 'AllReduce': {
        await group.allReduce(send as SummableArray, { operation: attributes['operation'] as 'sum' | 'max' });
        return send;
      }
      case 'AllGather': {
        const all = receive();
        await group.allGather({ send, receive: all, counts: numbers('counts') });
        return all;
      }
      case 'AllToAll': {
        const all = receive();
        await group.allToAll({
          send,
          receive: all,
          sendCounts: numbers('sendCounts'),
          receiveCounts: numbers('receiveCounts'),
        });
        return all;
      }
      case 'AllToAllFloat8': {
        const all = receive();
        await allToAllFloat8(group, {
          send,
          receive: all,
          dtype: attributes['dtype'] as DType,
          rows: numbers('rows'),
          sendRuns: numbers('sendRuns'),
          receiveRuns: numbers('receiveRuns'),
        });
        return all;
      }
      default: {
        const next = receive();
        await group.exchange({
          send,
          to: attributes['to'] as number,
          receive: next,
          from: attributes['from'] as number,
        });
        return next;
      }
    }
  }

  private group(name: GroupName): Collective {
    return this.rank.groups[name]!;
  }
}
