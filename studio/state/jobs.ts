/** The server's jobs, looked at again and again while the page is seen; and what can be done with them. */
import { computed, effect, signal } from '@preact/signals';
import { ApiError, connection, json, request } from '../api/client.ts';
import { isOver, type JobView } from '../api/types.ts';
import { isLoading, refreshModels, restarted } from './models.ts';

export const jobs = signal<readonly JobView[]>([]);
export const active = computed(() => jobs.value.filter(({ state }) => !isOver(state)));
export const finished = computed(() => jobs.value.filter(({ state }) => isOver(state)));

const shown = 60;
let looks = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Looks now, and goes on looking. */
export async function refreshJobs(): Promise<void> {
  clearTimeout(timer);
  try {
    const wasLost = connection.peek() === 'lost';
    const { data } = await json<{ data: JobView[] }>(`/v1/jobs?summary=false&limit=${shown}`);
    jobs.value = data;
    // Models come and go as others ask for them.
    if (looks++ % 5 === 0 || wasLost || isLoading()) await refreshModels();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  } finally {
    clearTimeout(timer);
    const settled = active.peek().length === 0 && connection.peek() === 'ready' && !isLoading();
    if (!document.hidden && connection.peek() !== 'locked') timer = setTimeout(refreshJobs, settled ? 4000 : 1000);
  }
}

export function startRefreshing(): void {
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) void refreshJobs();
  });
  addEventListener('online', () => void refreshJobs());
  // A key was given, or the connection is there again.
  effect(() => {
    if (connection.value !== 'locked') void refreshJobs();
  });
  effect(() => {
    if (restarted.value) void refreshJobs();
  });
}

export async function submit(body: object): Promise<JobView> {
  const job = await json<JobView>('/v1/jobs', { method: 'POST', body });
  void refreshJobs();
  return job;
}

/** A job like another one, with some of its fields replaced. */
export async function again(id: string, body: object): Promise<JobView> {
  const job = await json<JobView>(`/v1/jobs/${id}/again`, { method: 'POST', body });
  void refreshJobs();
  return job;
}

/** Ends a job; one that is over is forgotten. One that is gone is what was wanted. */
export async function end(id: string): Promise<void> {
  try {
    await request(`/v1/jobs/${id}`, { method: 'DELETE' });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
  await refreshJobs();
}
