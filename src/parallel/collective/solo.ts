/** The group of one rank: what a program gets that may be parallel and is not. */
import { DejaDitError } from '../../errors/errors.ts';
import { copyInto } from './arrays.ts';
import type { Call } from './call.ts';
import type { Collective } from './collective.ts';
import { Group, type Transport } from './group.ts';

/** A group of one rank, which needs nothing and moves nothing. */
export function solo(): Collective {
  return new Group(new SoloTransport());
}

class SoloTransport implements Transport {
  readonly name = 'solo';
  readonly rank = 0;
  readonly size = 1;
  failure: DejaDitError | undefined;

  async perform(call: Call): Promise<void> {
    if (!('send' in call)) return;
    if (call.send.length !== call.receive.length)
      throw new DejaDitError(
        'INVALID_ARGUMENT',
        `send has ${call.send.length} elements, receive ${call.receive.length}`,
        { path: call.kind },
      );
    copyInto(call.receive, call.send);
  }

  async subgroup(): Promise<Transport> {
    return new SoloTransport();
  }

  async abort(reason: Error): Promise<void> {
    this.failure ??= new DejaDitError('RANK_FAILED', `rank 0 gave up: ${reason.message}`, { cause: reason });
  }

  async close(): Promise<void> {}
}
