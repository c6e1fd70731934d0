/** How a job of several ranks fails: errors that name the rank, in the same words whatever the transport. */
import { DejaDitError } from '../../errors/errors.ts';

const failure = (message: string, cause?: unknown) => new DejaDitError('RANK_FAILED', message, { cause });

/** The same failure, as another rank tells it. */
export const retold = (message: string) => failure(message);

export const gaveUp = (rank: number, reason: unknown) =>
  failure(`rank ${rank} gave up: ${reason instanceof Error ? reason.message : String(reason)}`, reason);

export const died = (rank: number, how: string) => failure(`rank ${rank} died: ${how}`);

export const hasLeft = (rank: number, signature: string) =>
  failure(`rank ${rank} has closed its group, where the others call ${signature}`);

/** @param waiting who noticed, and in which call */
export function tooLate(
  ranks: readonly number[],
  { rank, signature, deadline }: { rank: number; signature: string; deadline: number },
): DejaDitError {
  const within = `within ${deadline} ms of rank ${rank}'s ${signature}`;
  return failure(`${named(ranks)} made no call ${within}: hanging, or in need of a longer deadline`);
}

export const silent = (rank: number, how: string) => failure(`rank ${rank} hangs: ${how}`);

/** All ranks have come, and the data has not. */
export const tooSlow = (rank: number, { signature, deadline }: { signature: string; deadline: number }) =>
  failure(`rank ${rank} did not get the data of its ${signature} within ${deadline} ms`);

export const wrongLength = (rank: number, { sent, to, expected }: { sent: number; to: number; expected: number }) =>
  failure(`rank ${rank} sends ${sent} elements to rank ${to}, which expects ${expected}`);

/**
 * Who does not do what most do (of two sides of one size, the one with the lowest rank counts as right).
 * @param said the call of each member
 */
export function differing(said: ReadonlyMap<number, string>): DejaDitError | undefined {
  const sides = new Map<string, number[]>();
  for (const [rank, text] of [...said].sort(([a], [b]) => a - b)) sides.set(text, [...(sides.get(text) ?? []), rank]);
  if (sides.size === 1) return undefined;
  const [right, ...others] = [...sides].sort(([, a], [, b]) => b.length - a.length || a[0]! - b[0]!);
  const wrong = others.map(([text, ranks]) => `${named(ranks)} ${calls(ranks)} ${text}`).join(', ');
  const [text, most] = right!;
  return failure(`${wrong}, where ${named(most)} ${calls(most)} ${text}: all ranks must do the same`);
}

const calls = (ranks: readonly number[]) => (ranks.length === 1 ? 'calls' : 'call');

function named(ranks: readonly number[]): string {
  return `${ranks.length === 1 ? 'rank' : 'ranks'} ${ranks.join(', ')}`;
}
