/**
 * The one error class of the engine. Every error a user can meet says in one line what is wrong, where
 * (`path`: a module path, a file, a tensor or a field) and, where there is one, what to do about it.
 */
import { printable } from './printable.ts';

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
  | 'RANK_FAILED' // a rank of a parallel job died, hung, gave up or disagreed
  | 'DISPOSED' // something was used after its dispose()
  | 'RUNTIME'; // the backend failed while compiling or running

export interface ErrorDetails {
  /** Where: module path (`transformer_blocks.3.attn.to_q`), file, tensor or config field. */
  path?: string;
  cause?: unknown;
}

/** Far beyond names that people give, short of what fills a screen. */
const longestPath = 600;
const longestMessage = 1000;

/**
 * Error with a stable `code` for programs and a one-line message for people. Whatever text went into the message, it is printable and
 * short; `path` keeps the name as it is.
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
    const text = printable(message, longestMessage);
    super(
      path === undefined ? text : `${printable(path, longestPath)}: ${text}`,
      cause === undefined ? undefined : { cause },
    );
    this.name = code === 'ABORTED' ? 'AbortError' : 'DejaDitError';
    this.code = code;
    this.path = path;
  }
}

/** Throws an `ABORTED` error if the signal has fired. Called between runs: a run itself cannot be interrupted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new DejaDitError('ABORTED', 'the request was aborted', { cause: signal.reason });
}

/** Separators do not count, and three letters may be missing. */
const longestExtra = 16;

/** The known name closest to `name` (edit distance at most 3), for "did you mean" hints. */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  const normal = (text: string) => text.toLowerCase().replace(/[_-]/g, '');
  let best: string | undefined;
  let bestDistance = 4;
  for (const candidate of known) {
    // A name from a file may have megabytes, and the distance costs length times length.
    if (Math.abs(name.length - candidate.length) > longestExtra) continue;
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
