/** A finished job as OpenAI answers, with what its imitators add. */
import type { Core } from '../core.ts';
import { Problem, problemOfJob } from '../http/problem.ts';
import type { Job, JobFile } from '../jobs/job.ts';

export type GenerateJob = Job<'generate'>;
export type DoneJob = GenerateJob & { result: NonNullable<GenerateJob['result']> };

/** The job if it is done. @throws Problem what went wrong */
export function requireDone(job: GenerateJob, core: Core): DoneJob {
  if (job.result) return { ...job, result: job.result };
  throw job.error ? problemOfJob(job.error, core.jobs.retryAfter) : new Problem(499, 'the request was cancelled');
}

export const base64 = ({ bytes }: JobFile): string => Buffer.from(bytes).toString('base64');

export const sizeOf = ({ width, height }: JobFile): string => `${width}x${height}`;

export const unixSeconds = (time: number = Date.now()): number => Math.floor(time / 1000);

/**
 * @param warnings what the request's fields gave reason to say
 * @param files paths of the pictures, where they were written
 */
export function imagesAnswer(
  job: DoneJob,
  {
    asUrl,
    origin,
    core,
    warnings,
    files: paths,
  }: { asUrl: boolean; origin: string; core: Core; warnings: readonly string[]; files: readonly string[] },
): object {
  const { files, report } = job.result;
  const [first] = files;
  return {
    id: job.id,
    created: unixSeconds(job.createdAt),
    data: files.map((file, i) => ({
      ...(asUrl
        ? { url: origin + core.links.sign(`/v1/images/${job.id}/content?variant=${i}`) }
        : { b64_json: base64(file) }),
      revised_prompt: null,
      ...(paths[i] === undefined ? {} : { file_path: paths[i] }),
    })),
    background: 'opaque',
    output_format: first?.type.replace('image/', ''),
    size: first && sizeOf(first),
    model: job.model,
    seed: report.seed,
    inference_time_s: report.timings.total / 1000,
    cache_summary: report.summary,
    warnings: [...warnings, ...report.warnings],
    usage: usage(files.length),
  };
}

/** Nothing is counted in tokens here. */
export function usage(images: number): object {
  return {
    input_tokens: 0,
    output_tokens: 0,
    total_tokens: 0,
    input_tokens_details: { image_tokens: 0, text_tokens: 0 },
    image_count: images,
  };
}
