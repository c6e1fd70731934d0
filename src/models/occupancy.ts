/**
 * Who uses a model, so that its weights do not change within a request: a request enters, a change locks, and each refuses the
 * other. Nobody waits; who is refused says when to come back.
 */
import { DejaDitError } from '../errors/errors.ts';

export class Occupancy {
  private requests = 0;
  private change: string | undefined;

  /** @param owner for error messages: the model's class */
  constructor(private readonly owner: string) {}

  /**
   * A request begins.
   * @returns ends it
   * @throws DejaDitError BUSY while the weights are being changed
   */
  enter(): () => void {
    if (this.change) throw this.busy(`${this.change} is under way`, 'run requests');
    this.requests++;
    return () => {
      this.requests--;
    };
  }

  /**
   * The weights begin to change.
   * @param change what is done to them: `quantize`
   * @returns ends it
   * @throws DejaDitError BUSY while a request or another change is under way
   */
  lock(change: string): () => void {
    if (this.change) throw this.busy(`${this.change} is under way`, change);
    if (this.requests > 0) throw this.busy(`requests under way: ${this.requests}`, change);
    this.change = change;
    return () => {
      this.change = undefined;
    };
  }

  private busy(why: string, wanted: string): DejaDitError {
    return new DejaDitError('BUSY', `this ${this.owner} is in use (${why}); ${wanted} when that has ended`);
  }
}

/** Locks several models, or none. */
export function lockAll(models: Iterable<{ readonly occupancy: Occupancy }>, change: string): () => void {
  return all([...models], ({ occupancy }) => occupancy.lock(change));
}

/** Enters several models, or none. */
export function enterAll(models: Iterable<{ readonly occupancy: Occupancy }>): () => void {
  return all([...models], ({ occupancy }) => occupancy.enter());
}

function all<T>(models: readonly T[], take: (model: T) => () => void): () => void {
  const taken: (() => void)[] = [];
  const leave = () => {
    for (const end of taken.splice(0)) end();
  };
  try {
    for (const model of models) taken.push(take(model));
  } catch (error) {
    leave();
    throw error;
  }
  return leave;
}
