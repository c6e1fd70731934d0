/**
 * A time limit on what a model repository's own patterns, templates and vocabularies compute, which need never end.
 *
 * V8 itself ends the computation: it looks at the limit in loops, in calls and while a regular expression backtracks. So no thread has
 * to be started, fed with the vocabulary and disposed, and tokenizing stays synchronous. The calling thread is busy for as long as
 * the limit at most. This does not bound memory; `limits.ts` does.
 */
import { type Context, createContext, Script } from 'node:vm';
import { DejaDitError } from '../errors/errors.ts';
import type { TimeLimit } from './limits.ts';

let sandbox: { context: Context; call: Script } | undefined;

/**
 * What `run` returns. Nothing of `run` goes on after the limit, not even its `catch` and `finally`.
 * @throws DejaDitError `INVALID_FILE` at the limit; whatever `run` throws
 */
export function withTimeLimit<T>(run: () => T, { milliseconds, task, path }: TimeLimit): T {
  sandbox ??= { context: createContext({}), call: new Script('run()') };
  const { context, call } = sandbox;
  context['run'] = run;
  try {
    return call.runInContext(context, { timeout: Math.ceil(milliseconds) }) as T;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException | undefined)?.code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw cause;
    throw new DejaDitError('INVALID_FILE', `${task} took longer than ${milliseconds / 1000} s and was stopped`, {
      path,
      cause,
    });
  } finally {
    context['run'] = undefined;
  }
}
