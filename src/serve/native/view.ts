/** A job as the native protocol shows it. */
import type { GenerateReport, Job, JobFile } from '../jobs/job.ts';

export type JobView = Record<string, unknown> & { report: GenerateReport | null };

/** JSON of a job; its files are links. */
export function jobView(job: Job, position?: number): JobView {
  const { id, request, model, state, createdAt, startedAt, finishedAt, progress, cancelling, result, error } = job;
  return {
    id,
    object: 'job',
    kind: request.kind,
    model,
    state,
    cancelling,
    priority: request.priority ?? 0,
    ...(position === undefined ? {} : { position }),
    createdAt,
    startedAt: startedAt ?? null,
    finishedAt: finishedAt ?? null,
    progress,
    preview: job.preview ? fileView(job.preview, `/v1/jobs/${id}/preview`) : null,
    options: request.kind === 'generate' ? withoutBytes(request.input.options) : null,
    files: result?.files.map((file, i) => fileView(file, `/v1/jobs/${id}/files/${i}`)) ?? [],
    report: result?.report ?? null,
    error: error ?? null,
  };
}

export function withoutSummary({ report, ...view }: JobView): Record<string, unknown> {
  if (!report) return { ...view, report };
  const { summary: _, ...others } = report;
  return { ...view, report: others };
}

export function fileView({ bytes, ...about }: JobFile, url: string): Record<string, unknown> {
  return { url, size: bytes.byteLength, ...about };
}

/** Pictures are told by their size alone. */
function withoutBytes(options: object): Record<string, unknown> {
  const told = (value: unknown): unknown => {
    if (value instanceof Uint8Array) return { size: value.byteLength };
    return Array.isArray(value) ? value.map(told) : value;
  };
  return Object.fromEntries(Object.entries(options).map(([name, value]) => [name, told(value)]));
}
