/**
 * The one error class of the engine. Every error a user can meet says in one line what is wrong, where
 * (`path`: a module path, a file, a tensor or a field) and, where there is one, what to do about it.
 */

export type ErrorCode =
  | 'INVALID_ARGUMENT' // a caller passed something that cannot work
  | 'INVALID_CONFIG' // a config file or config object is wrong
  | 'INVALID_FILE' // a file is truncated, hostile or of another format
  | 'MISSING_WEIGHT' // a checkpoint lacks a tensor that the model needs
  | 'SHAPE_MISMATCH' // a tensor has a shape or dtype that the place it is used in cannot take
  | 'UNSUPPORTED' // a known thing that this engine, backend or format cannot do
  | 'NOT_FOUND' // a file, repository, component or name does not exist
  | 'NETWORK' // a download failed
  | 'ABORTED' // the caller's AbortSignal fired
  | 'BUSY' // something cannot be changed while it is in use
  | 'DISPOSED' // something was used after its dispose()
  | 'RUNTIME'; // the backend failed while compiling or running

export interface ErrorDetails {
  /** Where: module path (`transformer_blocks.3.attn.to_q`), file, tensor or config field. */
  path?: string;
  cause?: unknown;
}

/**
 * Error with a stable `code` for programs and a one-line message for people.
 * @example
 * try {
 *   await pipe.generate({ prompt, width: 7 });
 * } catch (error) {
 *   if (error instanceof DejaDitError && error.code === 'INVALID_ARGUMENT') console.error(error.message);
 * }
 */
export class DejaDitError extends Error {
  /** `AbortError` for `ABORTED`, by which everything that knows DOM's errors recognises an abort; else `DejaDitError`. */
  override readonly name: 'DejaDitError' | 'AbortError';
  readonly code: ErrorCode;
  readonly path: string | undefined;

  constructor(code: ErrorCode, message: string, { path, cause }: ErrorDetails = {}) {
    super(path === undefined ? message : `${path}: ${message}`, cause === undefined ? undefined : { cause });
    this.name = code === 'ABORTED' ? 'AbortError' : 'DejaDitError';
    this.code = code;
    this.path = path;
  }
}

/** Throws an `ABORTED` error if the signal has fired. Called between runs: a run itself cannot be interrupted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new DejaDitError('ABORTED', 'the request was aborted', { cause: signal.reason });
}

/** The known name closest to `name` (edit distance at most 3), for "did you mean" hints. */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  const normal = (text: string) => text.toLowerCase().replace(/[_-]/g, '');
  let best: string | undefined;
  let bestDistance = 4;
  for (const candidate of known) {
    const distance = editDistance(normal(name), normal(candidate));
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** What to say of a name that is not known: which ones are, and first the one that is probably meant. */
export function suggest(name: string, known: Iterable<string>): string {
  const names = [...known];
  const nearest = nearestName(name, names);
  return `${nearest === undefined ? '' : `did you mean ${nearest}? `}known: ${names.join(', ')}`;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substitute, previous[j]! + 1, row[j - 1]! + 1));
    }
    previous = row;
  }
  return previous[b.length]!;
}
