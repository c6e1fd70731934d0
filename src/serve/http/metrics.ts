/** Prometheus metrics: requests, jobs, steps, models. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { isFinished, type Job, type JobEvent } from '../jobs/job.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { Models } from '../models.ts';

const seconds = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800];

export class Metrics {
  private readonly registry = new Registry();
  private readonly requests = new Counter({
    registers: [this.registry],
    name: 'deja_dit_http_requests_total',
    help: 'requests answered',
    labelNames: ['method', 'route', 'status'] as const,
  });
  private readonly durations = new Histogram({
    registers: [this.registry],
    name: 'deja_dit_http_request_seconds',
    help: 'time until the answer begins',
    labelNames: ['route'],
    buckets: seconds,
  });
  private readonly jobs = new Counter({
    registers: [this.registry],
    name: 'deja_dit_jobs_total',
    help: 'jobs that are over, by how they ended',
    labelNames: ['kind', 'model', 'state'] as const,
  });
  private readonly waits = new Histogram({
    registers: [this.registry],
    name: 'deja_dit_job_queue_seconds',
    help: 'time that jobs waited',
    labelNames: ['model'],
    buckets: seconds,
  });
  private readonly runs = new Histogram({
    registers: [this.registry],
    name: 'deja_dit_job_run_seconds',
    help: 'time that jobs ran which are done',
    labelNames: ['model'],
    buckets: seconds,
  });
  private readonly steps = new Counter({
    registers: [this.registry],
    name: 'deja_dit_steps_total',
    help: 'denoising steps, computed or re-used',
    labelNames: ['model', 'action'],
  });
  private readonly lost = new Counter({
    registers: [this.registry],
    name: 'deja_dit_engine_lost_total',
    help: 'times that the engine process ended unasked',
  });

  /** @param jobs, models what is read when metrics are */
  constructor(jobs: Jobs, models: Models) {
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        registers: [this.registry],
        name,
        help,
        collect() {
          this.set(read());
        },
      });
    gauge('deja_dit_jobs_queued', 'jobs that wait', () => jobs.counts.queued);
    gauge('deja_dit_jobs_running', 'jobs that run', () => jobs.counts.running);
    gauge('deja_dit_results_bytes', 'memory of finished jobs', () => jobs.counts.resultBytes);
    gauge('deja_dit_server_resident_bytes', 'memory of the server process', () => process.memoryUsage.rss());
    const loaded = new Gauge({
      registers: [this.registry],
      name: 'deja_dit_model_bytes',
      help: 'memory of loaded models',
      labelNames: ['model'],
      collect() {
        loaded.reset();
        for (const { name, now } of models.list()) if (now.state === 'loaded') loaded.set({ model: name }, now.bytes);
      },
    });
    jobs.watch((job, event) => this.hear(job, event));
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  text(): Promise<string> {
    return this.registry.metrics();
  }

  request({ method, route, status, time }: { method: string; route: string; status: number; time: number }): void {
    this.requests.inc({ method, route, status });
    this.durations.observe({ route }, time / 1000);
  }

  engineLost(): void {
    this.lost.inc();
  }

  private hear(job: Job, event: JobEvent): void {
    const { model } = job;
    if (event.type === 'step') this.steps.inc({ model, action: event.action });
    if (event.type === 'started') this.waits.observe({ model }, (job.startedAt! - job.createdAt) / 1000);
    if (event.type === 'done') this.runs.observe({ model }, (job.finishedAt! - job.startedAt!) / 1000);
    if (isFinished(job)) this.jobs.inc({ kind: job.request.kind, model, state: job.state });
  }
}
