/** A page has no disk to write to. */
import { DejaDitError } from '../errors/errors.ts';

/** @throws DejaDitError `UNSUPPORTED` */
export async function checkVacant(folder: string): Promise<void> {
  throw new DejaDitError('UNSUPPORTED', 'a page cannot write folders: quantise and save in Node', { path: folder });
}
