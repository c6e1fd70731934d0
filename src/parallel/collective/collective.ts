/**
 * What ranks of a parallel job say to each other: the operations that every transport offers, by MPI's meanings, on typed arrays of the
 * host. Which tensors are exchanged, and why, is not known here.
 */
import type { DejaDitError } from '../../errors/errors.ts';
import type { TypedArray } from '../../tensor/dtype.ts';
import type { Traffic } from './traffic.ts';

/** What can be summed. Narrower floats are moved as their bits and summed after widening. */
export type SummableArray = Float32Array | Float64Array | Int32Array;

/** How elements of the ranks become one. */
export type Reduction = 'sum' | 'max';

export interface CallOptions {
  /** Milliseconds to wait for the other ranks (default: that of the group, see `GroupOptions`). When they are over, the job has failed. */
  deadline?: number;
  /** Gives the call up, and with it the group: the other ranks' calls fail, naming this rank. */
  signal?: AbortSignal;
}

export interface GroupOptions {
  /** Milliseconds that a call waits for ranks that do not come. @default 600000 */
  deadline?: number;
}

/**
 * A group of ranks, seen from one of them. Every rank makes the same calls in the same order; a call settles when this rank's part is
 * done. Arrays belong to the call until then: what is sent must not change, what is received is not complete. Before data moves, all ranks
 * have said which call they make and of what size: if they disagree, all of them fail with an error that names who differs.
 *
 * A failure is for good and for all: whichever rank died, hung, disagreed or gave up, the calls under way and all later ones throw
 * `RANK_FAILED` with the same reason on every rank.
 */
export interface Collective extends AsyncDisposable {
  /** This rank, 0 to `size - 1`. */
  readonly rank: number;
  readonly size: number;
  /** What carries the messages: `solo`, `threads`, or the MPI library by name and version. */
  readonly transport: string;
  /** Calls, bytes and waiting of this rank since the group was made. */
  readonly traffic: Traffic;
  /** Why nothing works any more. */
  readonly failure: DejaDitError | undefined;

  /** Combines `data` of all ranks elementwise, in place. The result is the same in every bit on all ranks and each time. */
  allReduce(data: SummableArray, options?: CallOptions & { operation?: Reduction }): Promise<void>;

  /**
   * Joins the parts of all ranks in order of rank.
   * @param arrays `counts`: elements of each rank's part; without it all are equal
   */
  allGather<T extends TypedArray>(
    arrays: { send: T; receive: T; counts?: readonly number[] },
    options?: CallOptions,
  ): Promise<void>;

  /**
   * Combines `send` of all ranks elementwise, and gives each rank its part.
   * @param arrays `counts`: elements of each rank's part; without it all are equal
   */
  reduceScatter<T extends SummableArray>(
    arrays: { send: T; receive: T; counts?: readonly number[] },
    options?: CallOptions & { operation?: Reduction },
  ): Promise<void>;

  /**
   * Sends each rank its part of `send`, and joins what all ranks sent here, both in order of rank.
   * @param arrays `sendCounts`, `receiveCounts`: elements for and from each rank; without them all are equal
   */
  allToAll<T extends TypedArray>(
    arrays: { send: T; receive: T; sendCounts?: readonly number[]; receiveCounts?: readonly number[] },
    options?: CallOptions,
  ): Promise<void>;

  /**
   * A step of a ring, or of any permutation: sends to one rank and receives from one. All ranks call it. It may be awaited after other
   * work: sending begins at once.
   */
  exchange<T extends TypedArray>(
    arrays: { send: T; to: number; receive: T; from: number },
    options?: CallOptions,
  ): Promise<void>;

  /** Gives all ranks what `root` (default: 0) has. */
  broadcast(data: TypedArray, options?: CallOptions & { root?: number }): Promise<void>;

  /** Waits until all ranks are here. */
  barrier(options?: CallOptions): Promise<void>;

  /**
   * Parts the group: ranks that give the same `color` are together in the new one, ordered by `key` (default: their rank here). All ranks
   * call it. The groups are independent of each other; one failed rank fails them all.
   */
  split(place: { color: number; key?: number }, options?: CallOptions): Promise<Collective>;

  /** Ends the job for all ranks: their calls fail with this rank's name and the reason. */
  abort(reason: Error): Promise<void>;

  /** Leaves the group and frees what it holds, and all groups split from it. Calls under way must have settled. Once more does nothing. */
  close(): Promise<void>;
}
