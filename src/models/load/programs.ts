/** Which programs, and with them which backend, something that is loaded uses: given ones, those of a backend of its own, or the shared ones. */
import * as z from 'zod';
import { type ArgumentShape, anyObject } from '../../errors/arguments.ts';
import { DejaDitError } from '../../errors/errors.ts';
import { backendShape, type CreateBackendOptions, createBackend } from '../../runtime/create-backend.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';

export interface ProgramOptions extends CreateBackendOptions {
  /** Programs, and with them the backend, shared with others; excludes the backend options. Default: those of `defaultPrograms`. */
  programs?: ProgramCache | undefined;
  /** Memory that compiled programs may take together, in bytes; see `ProgramCacheOptions`. Default 1 GiB. */
  maxProgramBytes?: number | undefined;
}

export const programShape: ArgumentShape<ProgramOptions> = {
  ...backendShape,
  programs: anyObject,
  maxProgramBytes: z.number(),
};

/** @returns `own`: whether the backend was made for these options, so that it goes with what is loaded */
export async function programsFor(options: ProgramOptions): Promise<{ programs: ProgramCache; own: boolean }> {
  const { programs, maxProgramBytes, backend, worker, threads, spinning, int8Product } = options;
  const asked = Object.entries({ maxProgramBytes, backend, worker, threads, spinning, int8Product }).find(
    ([, value]) => value !== undefined,
  );
  if (programs && asked)
    throw new DejaDitError('INVALID_ARGUMENT', `'programs' come with a backend; leave out one of the two`, {
      path: asked[0],
    });
  if (programs) return { programs, own: false };
  if (!asked) return { programs: await defaultPrograms(), own: false };
  const made = await createBackend({ backend, worker, threads, spinning, int8Product });
  try {
    return { programs: new ProgramCache(made, { maxBytes: maxProgramBytes }), own: true };
  } catch (error) {
    await made.dispose();
    throw error;
  }
}

let shared: Promise<ProgramCache> | undefined;

/**
 * The programs of all models that were loaded without any: the default backend in the calling thread. Who disposes that backend
 * ends what is loaded; what is loaded afterwards gets another.
 */
export async function defaultPrograms(): Promise<ProgramCache> {
  if ((await shared)?.backend.closed) shared = undefined;
  shared ??= createBackend().then((backend) => new ProgramCache(backend));
  try {
    return await shared;
  } catch (error) {
    shared = undefined;
    throw error;
  }
}
