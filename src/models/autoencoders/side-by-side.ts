/** Pieces of work, each on one of several ranks, of which the results are used in order. */
import type { Tensor } from '../../tensor/tensor.ts';
import type { GraphModel } from '../graph-model.ts';

/** Does a piece of work with a model, wherever that computes. */
export type Work = (model: GraphModel) => Promise<Tensor>;

/** Ranks that have a model each. */
export interface WorkRanks {
  /** Ranks in all. */
  readonly count: number;
  /** Those of this process. */
  readonly here: number;
  /**
   * Begins a piece of work: the first on the first rank, and so on, round after round; a rank does one after the other.
   * @returns what it came to, in every process
   */
  start(index: number, work: Work): Promise<Tensor>;
  dispose(): Promise<void>;
}

/** The results of all pieces, in order; no more are begun ahead than keep every rank at work. */
export async function* sideBySide(pieces: readonly Work[], ranks: WorkRanks): AsyncGenerator<Tensor> {
  const begun: Promise<Tensor>[] = [];
  const ahead = ranks.count === 1 ? 1 : 2 * ranks.count;
  let next = 0;
  try {
    for (let index = 0; index < pieces.length; index++) {
      for (; next < Math.min(pieces.length, index + ahead); next++) {
        const result = ranks.start(next, pieces[next]!);
        // Whoever comes to it gets the error.
        result.catch(() => undefined);
        begun.push(result);
      }
      yield await begun.shift()!;
    }
  } finally {
    await Promise.allSettled(begun);
  }
}

/** All on one rank, which is the model itself. */
export const oneRank = (model: GraphModel): WorkRanks => ({
  count: 1,
  here: 1,
  start: (_, work) => work(model),
  dispose: async () => undefined,
});
