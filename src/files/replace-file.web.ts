/** A page has no disk to write to. */
import { DejaDitError } from '../errors/errors.ts';

/** @throws DejaDitError `UNSUPPORTED` */
export async function writeFileAtomically(path: string, _content: string | Uint8Array): Promise<void> {
  throw new DejaDitError('UNSUPPORTED', 'a page cannot write files: encode() or toBlob() give the bytes', { path });
}
