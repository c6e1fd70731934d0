/**
 * A tensor on the ranks of a mesh. It comes from the host and is brought to the ranks when it is first used, in the parts that are used; or
 * from a run, where it lies as the run left it. In whatever further layout it is asked for, it is made from what there is.
 */
import type { ValueSpec } from '../../graph/graph.ts';
import type { DeviceTensor } from '../../runtime/backend.ts';
import { disposeTensors } from '../../runtime/tensor-table.ts';
import { arrayClass } from '../../tensor/dtype.ts';
import type { Selection } from '../../tensor/selection.ts';
import { sizeOf, Tensor } from '../../tensor/tensor.ts';
import { cutTensor, isWhole, type Layout, layoutKey, putPart, selectionOf, whole } from '../partition/layout.ts';
import type { SharedCrew } from './crew.ts';

/** For each of this process's ranks, in order. */
type Parts = readonly DeviceTensor[];

/** The tensor on the host, or in a file. */
export interface HostSource {
  /** Parts are in memory of their own, and so is all that comes from a file. */
  read(selection: Selection): Tensor | Promise<Tensor>;
  /** Whether it is given up once its values are on the ranks. */
  readonly temporary: boolean;
}

export class Distributed {
  private readonly placed = new Map<string, Promise<Parts>>();
  private source: HostSource | undefined;
  private disposed = false;

  /**
   * @param spec of the whole tensor
   * @param layout in which it lies, or in which it would come as it is
   */
  private constructor(
    private readonly crew: SharedCrew,
    readonly spec: ValueSpec,
    readonly layout: Layout,
  ) {}

  static fromHost(crew: SharedCrew, spec: ValueSpec, source: HostSource): Distributed {
    const tensor = new Distributed(crew, spec, whole(spec.shape.length));
    tensor.source = source;
    return tensor;
  }

  static fromRanks(
    crew: SharedCrew,
    spec: ValueSpec,
    { layout, parts }: { layout: Layout; parts: Parts },
  ): Distributed {
    const tensor = new Distributed(crew, spec, layout);
    tensor.placed.set(layoutKey(layout), Promise.resolve(parts));
    return tensor;
  }

  /** What the ranks have of it in a layout; stays this tensor's. */
  place(layout: Layout): Promise<Parts> {
    const key = layoutKey(layout);
    let parts = this.placed.get(key);
    if (!parts) {
      parts = this.bring(layout);
      this.placed.set(key, parts);
      parts.catch(() => this.placed.delete(key));
    }
    return parts;
  }

  /** The whole tensor, in memory of its own where it comes from ranks. Where ranks are other processes, all of them have to ask. */
  async download(): Promise<Tensor> {
    if (this.source) return this.source.read([]);
    const { spec } = this;
    const crew = await this.crew.ranks();
    const [own] = crew.ranks;
    const everywhere = await this.placed.get(layoutKey(whole(spec.shape.length)));
    if (everywhere) return own!.backend.download(everywhere[0]!, { copy: true });
    const { layout } = this;
    const parts = await this.place(layout);
    const here = await Promise.all(parts.map((part, i) => crew.ranks[i]!.backend.download(part, { copy: true })));
    if (isWhole(layout)) return here[0]!;
    const all = new Tensor(spec.dtype, new (arrayClass(spec.dtype))(sizeOf(spec.shape)), spec.shape);
    await crew.eachPart(here, { layout, shape: spec.shape }, (part, place) => putPart(all, part, { layout, place }));
    return all;
  }

  dispose(): void {
    this.disposed = true;
    this.source = undefined;
    for (const parts of this.placed.values()) parts.then(disposeTensors).catch(() => undefined);
    this.placed.clear();
  }

  private async bring(layout: Layout): Promise<Parts> {
    const { source } = this;
    const all = source && !isWhole(layout) ? undefined : await this.download();
    const { ranks } = await this.crew.ranks();
    const parts: DeviceTensor[] = [];
    for (const { place, backend } of ranks) {
      const part = all ? cutTensor(all, { layout, place }) : await source!.read(selectionOf(layout, place));
      parts.push(backend.upload(part, { transfer: part !== all }));
    }
    if (this.source?.temporary) this.source = undefined;
    if (this.disposed) disposeTensors(parts);
    return parts;
  }
}
