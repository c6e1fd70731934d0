/** What the server and its workers share in a Redis: one queue of BullMQ, and two channels for what is not worth keeping. */

import { DejaDitError } from '../../errors/errors.ts';
import type { ModelState } from '../engine/messages.ts';
import type { JobError, WorkEvent, WorkKind, WorkResult } from '../jobs/job.ts';

export const queueName = 'jobs';
export const prefix = 'deja-dit';
/** Ids of jobs that are to end. */
export const cancelChannel = `${prefix}:cancel`;
/** `Announcement`s of workers, every few seconds. */
export const modelsChannel = `${prefix}:models`;

/** What a worker tells of itself. */
export interface Announcement {
  worker: string;
  models: [name: string, state: ModelState][];
  /** Whether its first model is loaded and has drawn. */
  warm: boolean;
}

/** How a task ended: its result, or what was wrong with it. Only what is wrong with a worker is an error to BullMQ. */
export type Outcome = { result: WorkResult<WorkKind> } | { error: JobError };

export type Progress = WorkEvent;

/**
 * BullMQ and the client of Redis, which are optional dependencies.
 * @throws DejaDitError UNSUPPORTED if they are not installed
 */
export async function loadBullmq(): Promise<typeof import('bullmq') & { Redis: typeof import('ioredis').Redis }> {
  try {
    const [bullmq, { Redis }] = await Promise.all([import('bullmq'), import('ioredis')]);
    return { ...bullmq, Redis };
  } catch (cause) {
    throw new DejaDitError('UNSUPPORTED', 'a queue in Redis needs the packages bullmq and ioredis; install them', {
      path: 'queue',
      cause,
    });
  }
}

/** @throws DejaDitError INVALID_ARGUMENT */
export function checkQueueUrl(url: string): string {
  if (/^rediss?:\/\/|^unix:\//.test(url)) return url.replace(/^unix:(\/\/)?/, '');
  throw new DejaDitError('INVALID_ARGUMENT', `expected redis://HOST:PORT, got '${url}'`, { path: 'queue' });
}
