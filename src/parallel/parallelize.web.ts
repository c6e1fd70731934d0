/** A page has no ranks. */
import { DejaDitError } from '../errors/errors.ts';

/** @throws DejaDitError `UNSUPPORTED` */
export function parallelize(_models: unknown, _config: unknown): void {
  const message = "is for Node: in a page threads within operators compute together ({ backend: 'wasm', threads })";
  throw new DejaDitError('UNSUPPORTED', message, { path: 'parallelismConfig' });
}
