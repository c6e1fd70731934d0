/** One job as it happens: its steps, its last preview, and in the end all that is known of it. Jobs that are over are replayed. */
import { type ReadonlySignal, signal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { ApiError, json } from '../api/client.ts';
import { eventStream } from '../api/event-stream.ts';
import { isOver, type JobView, type StepEvent, type ViewedEvent } from '../api/types.ts';
import { refreshJobs } from './jobs.ts';

export interface Watched {
  readonly job: ReadonlySignal<JobView | undefined>;
  readonly steps: ReadonlySignal<readonly StepEvent[]>;
  /** The address of the last preview. */
  readonly preview: ReadonlySignal<string | undefined>;
  /** Why it cannot be watched any more. */
  readonly gone: ReadonlySignal<string | undefined>;
}

/** @param id of none: nothing is watched */
export function useWatch(id: string | undefined): Watched {
  const watched = useMemo(
    () => ({
      job: signal<JobView | undefined>(undefined),
      steps: signal<readonly StepEvent[]>([]),
      preview: signal<string | undefined>(undefined),
      gone: signal<string | undefined>(undefined),
    }),
    [id],
  );
  useEffect(() => {
    if (id === undefined) return undefined;
    const over = new AbortController();
    void keepWatching(id, watched, over.signal);
    return () => over.abort();
  }, [id, watched]);
  return watched;
}

type Signals = { [Name in keyof Watched]: ReturnType<typeof signal<Watched[Name]['value']>> };

async function keepWatching(id: string, watched: Signals, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    try {
      return await watch(id, watched, over);
    } catch (error) {
      if (over.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      // No answer, or no key as yet.
      if (error.status !== 0 && error.status !== 401) {
        watched.gone.value = error.message;
        return;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function watch(id: string, { job, steps, preview }: Signals, over: AbortSignal): Promise<void> {
  const look = async () => {
    job.value = await json<JobView>(`/v1/jobs/${id}`, { signal: over });
  };
  for await (const { data } of eventStream(`/v1/jobs/${id}/events`, over)) {
    const event = JSON.parse(data) as ViewedEvent;
    if (event.type === 'step') steps.value = [...steps.value!, event];
    else if (event.type === 'preview') preview.value = `data:${event.file.type};base64,${event.file.base64}`;
    else if (event.type === 'started') steps.value = [];
    if (event.type === 'queued' || event.type === 'started' || isOver(event.type as JobView['state'])) await look();
  }
  if (!over.aborted) await refreshJobs();
}
