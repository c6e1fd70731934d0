/** A request for images as server-sent events: partial pictures, then each that is finished. */
import type { SSEStreamingApi } from 'hono/streaming';
import type { Core } from '../core.ts';
import { problemOf } from '../http/problem.ts';
import type { JobFile } from '../jobs/job.ts';
import { base64, type GenerateJob, requireDone, sizeOf, unixSeconds, usage } from './answer.ts';
import { openaiError } from './error.ts';

export interface StreamOptions {
  core: Core;
  job: GenerateJob;
  /** What the names of the events begin with: `image_generation` or `image_edit`. */
  name: string;
}

/** Writes the events of a job until it is over. If the reader goes, the job ends. */
export async function streamImages(stream: SSEStreamingApi, { core, job, name }: StreamOptions): Promise<void> {
  const gone = new AbortController();
  stream.onAbort(() => {
    gone.abort();
    core.jobs.cancel(job.id);
  });
  const send = (event: { type: string } & Record<string, unknown>) =>
    stream.writeSSE({ event: event.type, data: JSON.stringify(event) });
  const about = (file: JobFile) => ({
    b64_json: base64(file),
    created_at: unixSeconds(),
    size: sizeOf(file),
    quality: 'auto',
    background: 'opaque',
    output_format: file.type.replace('image/', ''),
  });
  try {
    for await (const { event } of core.jobs.events(job.id, { signal: gone.signal })) {
      if (event.type === 'preview')
        await send({ type: `${name}.partial_image`, partial_image_index: event.index, ...about(event.file) });
      // A comment keeps the connection from looking dead during long steps.
      else if (event.type === 'step') await stream.write(`: step ${event.step} of ${event.steps}\n\n`);
    }
    if (gone.signal.aborted) return;
    const { files, report } = requireDone(job, core).result;
    for (const file of files)
      await send({ type: `${name}.completed`, ...about(file), seed: report.seed, usage: usage(files.length) });
  } catch (error) {
    await stream.writeSSE({ event: 'error', data: JSON.stringify(openaiError(problemOf(error))) });
  }
}
