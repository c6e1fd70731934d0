/** The prompts of this protocol: which job each is, and how queue and history show it. What a job is and has, the job core alone knows. */

import { fileEnding } from '../http/file-answer.ts';
import { isFinished, type Job, type JobFile } from '../jobs/job.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { Graph, Output, ReadGraph } from './graph.ts';

/** A file as clients name it. */
export interface FileName {
  filename: string;
  subfolder: string;
  type: 'output' | 'temp';
}

export type Message = [event: string, data: Record<string, unknown>];

export interface Prompt {
  id: string;
  job: string;
  number: number;
  client: string | undefined;
  graph: Graph;
  extra: object;
  read: ReadGraph;
  /** What happened to it, as history has it. */
  messages: Message[];
  /** By output node, once it is drawn. */
  files: ReadonlyMap<string, FileName[]>;
}

export class Prompts {
  private readonly known = new Map<string, Prompt>();
  private readonly byJob = new Map<string, Prompt>();
  private numbers = 0;
  private fileCount = 0;

  constructor(private readonly jobs: Jobs) {}

  add(prompt: Omit<Prompt, 'number' | 'messages' | 'files'>): Prompt {
    // Those whose results were let go of.
    for (const old of this.known.values()) if (!this.jobs.get(old.job)) this.forget(old);
    const added = { ...prompt, number: this.numbers++, messages: [], files: new Map() };
    this.known.set(prompt.id, added);
    this.byJob.set(prompt.job, added);
    return added;
  }

  get(id: string): Prompt | undefined {
    return this.known.get(id);
  }

  of(job: Job): Prompt | undefined {
    return this.byJob.get(job.id);
  }

  forget({ id, job }: Prompt): void {
    this.known.delete(id);
    this.byJob.delete(job);
    this.jobs.forget(job);
  }

  /** By state, in the order in which they came. */
  list(state: 'queued' | 'running' | 'finished'): Prompt[] {
    return [...this.known.values()].filter(({ job }) => {
      const now = this.jobs.get(job);
      return now !== undefined && (state === 'finished' ? isFinished(now) : now.state === state);
    });
  }

  get remaining(): number {
    return this.list('queued').length + this.list('running').length;
  }

  /** Names for what was drawn, each time others; one count for all prefixes, of which clients may have any number. */
  name(prompt: Prompt, files: readonly JobFile[]): void {
    prompt.files = new Map(
      prompt.read.outputs.map((output) => [output.node, files.map((file) => this.nextName(output, file))]),
    );
  }

  find({ filename, subfolder, type }: { filename: string; subfolder: string; type: string }): JobFile | undefined {
    for (const { job, files } of this.known.values())
      for (const names of files.values()) {
        const index = names.findIndex(
          (name) => name.filename === filename && name.subfolder === subfolder && name.type === type,
        );
        if (index >= 0) return this.jobs.get(job)?.result?.files[index];
      }
    return undefined;
  }

  private nextName({ prefix, type }: Output, file: JobFile): FileName {
    const parts = prefix.split('/');
    const name = parts.pop();
    return {
      filename: `${name}_${String(++this.fileCount).padStart(5, '0')}_.${fileEnding(file)}`,
      subfolder: parts.join('/'),
      type,
    };
  }
}

/** `[number, id, graph, extra_data, outputs]` */
export function queueEntry({ number, id, graph, extra, read }: Prompt): unknown[] {
  return [number, id, graph, extra, read.outputs.map(({ node }) => node)];
}

export function historyEntry(prompt: Prompt, job: Job): object {
  const isDone = job.state === 'done';
  const outputs = Object.fromEntries([...prompt.files].map(([node, images]) => [node, { images }]));
  const nodes = prompt.read.outputs.map(({ node }) => node);
  return {
    prompt: queueEntry(prompt),
    outputs,
    status: { status_str: isDone ? 'success' : 'error', completed: isDone, messages: prompt.messages },
    meta: Object.fromEntries(
      nodes.map((node) => [node, { node_id: node, display_node: node, parent_node: null, real_node_id: node }]),
    ),
    // Of this server: what had no effect.
    ...(job.result?.report.warnings.length ? { warnings: job.result.report.warnings } : {}),
  };
}
