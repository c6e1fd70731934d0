/** What a request's `onStep` returned. */

import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { requireShape } from './tensors.ts';

/**
 * The latents to go on with.
 * @throws DejaDitError `INVALID_ARGUMENT` for anything that would not take effect, `SHAPE_MISMATCH` for latents of another shape
 */
export function changedLatents(reply: unknown, latents: Tensor): Tensor {
  if (reply === undefined) return latents;
  if (typeof reply !== 'object' || reply === null || Object.keys(reply).some((key) => key !== 'latents'))
    throw refused('expected nothing or { latents } to be returned', reply);
  const { latents: changed } = reply as { latents?: unknown };
  if (changed === undefined) return latents;
  if (!(changed instanceof Tensor)) throw refused('expected the returned latents to be a Tensor', changed);
  return requireShape(changed, latents.shape, 'onStep');
}

function refused(expected: string, value: unknown): DejaDitError {
  return new DejaDitError('INVALID_ARGUMENT', `${expected}, got ${quote(value)}`, { path: 'onStep' });
}
