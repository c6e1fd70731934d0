/** Prompts as `/jobs` lists them. */
import type { Job, JobState } from '../jobs/job.ts';
import { historyEntry, type Prompt } from './prompts.ts';

export const jobStates: Readonly<Record<JobState, string>> = {
  queued: 'pending',
  running: 'in_progress',
  done: 'completed',
  failed: 'failed',
  cancelled: 'cancelled',
};

/** @param isWhole whether with its graph and what it drew */
export function jobEntry(prompt: Prompt, job: Job, isWhole = false) {
  const { id, number, createdAt, graph, extra, messages } = prompt;
  const files = [...prompt.outputs].flatMap(([nodeId, { images = [] }]) =>
    images.map((image) => ({ ...image, nodeId, mediaType: 'images' })),
  );
  const at = (...events: string[]) => messages.find(([event]) => events.includes(event))?.[1];
  const error = at('execution_error');
  const begin = at('execution_start')?.['timestamp'];
  const end = at('execution_success', 'execution_error', 'execution_interrupted')?.['timestamp'];
  const workflow = extra.extra_pnginfo?.['workflow'] as { id?: unknown } | null | undefined;
  const { outputs, status } = historyEntry(prompt, job);
  return {
    id,
    status: jobStates[job.state],
    priority: number,
    create_time: createdAt,
    ...(begin === undefined ? {} : { execution_start_time: begin }),
    ...(end === undefined ? {} : { execution_end_time: end }),
    ...(error === undefined ? {} : { execution_error: error }),
    outputs_count: files.length,
    ...(files.length === 0 ? {} : { preview_output: files.find(({ type }) => type === 'output') ?? files[0] }),
    ...(workflow?.id === undefined ? {} : { workflow_id: workflow.id }),
    ...(isWhole ? { outputs, execution_status: status, workflow: { prompt: graph, extra_data: extra } } : {}),
  };
}
