/** A page has no native code. */
import { DejaDitError } from '../../errors/errors.ts';
import type { Backend, BackendOptions } from '../backend.ts';

/** @throws DejaDitError `UNSUPPORTED` */
export async function createCpuBackend(_options?: BackendOptions): Promise<Backend> {
  throw new DejaDitError('UNSUPPORTED', "a page has no native code; use 'wasm'", { path: 'backend' });
}
