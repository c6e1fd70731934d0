/** Waiting for a job on behalf of a client that waits itself. */
import type { Core } from '../core.ts';
import type { Job } from '../jobs/job.ts';

/** The job when it is over. If whoever asked for it goes, it ends. */
export async function finishedFor({ jobs }: Core, id: string, signal: AbortSignal): Promise<Job<'generate'>> {
  const cancel = () => void jobs.cancel(id);
  signal.addEventListener('abort', cancel);
  if (signal.aborted) cancel();
  try {
    return await jobs.finished<'generate'>(id);
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}
