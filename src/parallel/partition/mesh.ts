/**
 * The ranks of a parallel model as a mesh, batch × ring × ulysses × tensor, the last three in the order in which cache-dit has them:
 * rank = ((batch · R + ring) · U + ulysses) · T + tensor.
 */

export interface MeshSize {
  /** Samples, and with them guidance branches that are samples of one call. */
  readonly batch: number;
  readonly ring: number;
  readonly ulysses: number;
  readonly tensor: number;
}

/**
 * What a tensor's axis can be dealt over: the ranks that share a batch, those that share a sequence (ring · ulysses), or those that share its
 * channels.
 */
export type MeshAxis = 'batch' | 'sequence' | 'tensor';

/** Ranks that exchange something: those along a mesh axis, or along one of the two that make up `sequence`. */
export type GroupName = MeshAxis | 'ring' | 'ulysses';

/** A rank's coordinates. */
export interface Place {
  readonly batch: number;
  readonly ring: number;
  readonly ulysses: number;
  readonly sequence: number;
  readonly tensor: number;
}

export class Mesh {
  constructor(readonly size: MeshSize) {}

  get ranks(): number {
    const { batch, ring, ulysses, tensor } = this.size;
    return batch * ring * ulysses * tensor;
  }

  /** Ranks in a group. */
  count(group: GroupName): number {
    const { ring, ulysses } = this.size;
    return group === 'sequence' ? ring * ulysses : this.size[group];
  }

  place(rank: number): Place {
    const { ring, ulysses, tensor } = this.size;
    const rest = Math.floor(rank / tensor);
    const sequence = rest % (ring * ulysses);
    return {
      batch: Math.floor(rest / (ring * ulysses)),
      sequence,
      ring: Math.floor(sequence / ulysses),
      ulysses: sequence % ulysses,
      tensor: rank % tensor,
    };
  }

  /** The ranks of one rank's group, in order. */
  members(group: GroupName, rank: number): number[] {
    const own = this.place(rank);
    const fixed = coordinates.filter((axis) => axis !== group && !(group === 'sequence' && isOfSequence(axis)));
    return Array.from({ length: this.ranks }, (_, other) => other).filter((other) => {
      const place = this.place(other);
      return fixed.every((axis) => place[axis] === own[axis]);
    });
  }
}

const isOfSequence = (axis: string): boolean => axis === 'ring' || axis === 'ulysses';
const coordinates = ['batch', 'ring', 'ulysses', 'tensor'] as const;
