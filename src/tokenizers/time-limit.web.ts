/**
 * Browsers cannot end a computation from the inside: a page that hangs is ended by its reader, and in a worker by the page. So this
 * only runs it; `limits.ts` bounds what it can be asked.
 */
import type { TimeLimit } from './limits.ts';

/** What `run` returns. */
export function withTimeLimit<T>(run: () => T, _limit: TimeLimit): T {
  return run();
}
