/**
 * The ranks of a parallel model as a mesh, ring × ulysses × tensor, in the order in which cache-dit has them:
 * rank = (ring · U + ulysses) · T + tensor.
 */

export interface MeshSize {
  readonly ring: number;
  readonly ulysses: number;
  readonly tensor: number;
}

/** What a tensor's axis can be dealt over: all ranks that share a sequence (ring · ulysses), or all that share its channels. */
export type MeshAxis = 'sequence' | 'tensor';

/** Ranks that exchange something: those along a mesh axis, or along one of the two that make up `sequence`. */
export type GroupName = MeshAxis | 'ring' | 'ulysses';

/** A rank's coordinates. */
export interface Place {
  readonly ring: number;
  readonly ulysses: number;
  readonly sequence: number;
  readonly tensor: number;
}

export class Mesh {
  constructor(readonly size: MeshSize) {}

  get ranks(): number {
    const { ring, ulysses, tensor } = this.size;
    return ring * ulysses * tensor;
  }

  /** Ranks in a group. */
  count(group: GroupName): number {
    const { ring, ulysses } = this.size;
    return group === 'sequence' ? ring * ulysses : this.size[group];
  }

  place(rank: number): Place {
    const { ulysses, tensor } = this.size;
    const sequence = Math.floor(rank / tensor);
    return { sequence, ring: Math.floor(sequence / ulysses), ulysses: sequence % ulysses, tensor: rank % tensor };
  }

  /** The ranks of one rank's group, in order. */
  members(group: GroupName, rank: number): number[] {
    const own = this.place(rank);
    const fixed = coordinates.filter((axis) => axis !== group && !(group === 'sequence' && axis !== 'tensor'));
    return Array.from({ length: this.ranks }, (_, other) => other).filter((other) => {
      const place = this.place(other);
      return fixed.every((axis) => place[axis] === own[axis]);
    });
  }
}

const coordinates = ['ring', 'ulysses', 'tensor'] as const;
