/** The prompts of this protocol: which job each is, and how queue and history show it. What a job is and has, the job core alone knows. */
import { summaryText } from '../../api/summary.ts';
import { fileEnding } from '../http/file-answer.ts';
import { bytesOf, isFinished, type Job, type JobFile } from '../jobs/job.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { Graph, Output, ReadGraph } from './graph/graph.ts';

/** A file as clients name it. */
export interface FileName {
  filename: string;
  subfolder: string;
  type: 'output' | 'temp';
}

export type Message = [event: string, data: Record<string, unknown>];

/** What a node shows. */
export interface NodeOutput {
  images?: FileName[];
  animated?: boolean[];
  text?: string[];
}

export interface Prompt {
  id: string;
  job: string;
  number: number;
  client: string | undefined;
  graph: Graph;
  extra: { extra_pnginfo?: Record<string, unknown> | null | undefined };
  read: ReadGraph;
  /** What is drawn: prompts that have it in common are one job, if the first is over when the second comes. */
  key: string;
  createdAt: number;
  /** What happened to it, as history has it. */
  messages: Message[];
  /** By node, once it is drawn. */
  outputs: ReadonlyMap<string, NodeOutput>;
}

/** Finished prompts that are kept, and the bytes of all graphs together. */
export interface PromptLimits {
  count: number;
  bytes: number;
}

export class Prompts {
  private readonly known = new Map<string, Prompt>();
  /** By the jobs that they began. */
  private readonly byJob = new Map<string, Prompt>();
  private readonly sizes = new Map<string, number>();
  private numbers = 0;
  private fileCount = 0;

  constructor(
    private readonly jobs: Jobs,
    private readonly limits: PromptLimits,
  ) {}

  /** @param isAnswered whether its job was begun by another prompt */
  add(prompt: Omit<Prompt, 'number' | 'createdAt' | 'messages' | 'outputs'>, isAnswered = false): Prompt {
    this.trim();
    const added = { ...prompt, number: this.numbers++, createdAt: Date.now(), messages: [], outputs: new Map() };
    this.known.set(prompt.id, added);
    this.sizes.set(prompt.id, bytesOf([prompt.graph, prompt.extra]));
    if (!isAnswered) this.byJob.set(prompt.job, added);
    return added;
  }

  get(id: string): Prompt | undefined {
    return this.known.get(id);
  }

  /** The prompt that began a job. */
  of(job: Job): Prompt | undefined {
    return this.byJob.get(job.id);
  }

  /** The newest prompt whose job is done and drew the same. */
  drawn(key: string): { prompt: Prompt; job: Job } | undefined {
    for (const prompt of [...this.known.values()].reverse()) {
      const job = prompt.key === key ? this.jobs.get(prompt.job) : undefined;
      if (job?.state === 'done') return { prompt, job };
    }
    return undefined;
  }

  /** The job goes with the last prompt that it answers. */
  forget({ id, job }: Prompt): void {
    this.known.delete(id);
    this.sizes.delete(id);
    if ([...this.known.values()].some((other) => other.job === job)) return;
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

  /**
   * Names for what was drawn, each time others; one count for all prefixes, of which clients may have any number.
   * @param before a prompt that showed the same: what a node shows as it did there keeps its names
   * @returns the nodes that do
   */
  show(prompt: Prompt, { result }: Job, before?: Prompt): ReadonlySet<string> {
    const { outputs, drawing } = prompt.read;
    const same = new Set<string>();
    const shown = outputs.map((output): [string, NodeOutput] => {
      const old = before?.read.outputs.find(({ node }) => node === output.node);
      const known = old && isSame(old, output) ? before?.outputs.get(output.node) : undefined;
      if (known) same.add(output.node);
      return [output.node, known ?? this.named(output, result?.files ?? [])];
    });
    const text = result?.report.summary.map(summaryText).join('\n\n');
    const told = drawing.summaries.map((node): [string, NodeOutput] => [node, { text: [text || noCache] }]);
    prompt.outputs = new Map([...shown, ...told]);
    return same;
  }

  find({
    filename,
    subfolder,
    type,
  }: {
    filename: string;
    subfolder: string;
    type: string;
  }): { file: JobFile; prompt: Prompt } | undefined {
    for (const prompt of this.known.values())
      for (const { images = [] } of prompt.outputs.values()) {
        const index = images.findIndex(
          (name) => name.filename === filename && name.subfolder === subfolder && name.type === type,
        );
        const file = index < 0 ? undefined : this.jobs.get(prompt.job)?.result?.files[index];
        if (file) return { file, prompt };
      }
    return undefined;
  }

  /** Lets go of those whose results are gone, and of the oldest ones that are over while there are too many. */
  private trim(): void {
    for (const old of this.known.values()) if (!this.jobs.get(old.job)) this.forget(old);
    let bytes = [...this.sizes.values()].reduce((sum, size) => sum + size, 0);
    for (const old of this.list('finished')) {
      if (this.known.size < this.limits.count && bytes <= this.limits.bytes) break;
      bytes -= this.sizes.get(old.id)!;
      this.forget(old);
    }
  }

  private named(output: Output, files: readonly JobFile[]): NodeOutput {
    const images = files.map((file) => this.nextName(output, file));
    return output.video ? { images, animated: [true] } : { images };
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

const noCache = 'there was no cache: every step was computed in full';

const isSame = (a: Output, b: Output): boolean => a.prefix === b.prefix && a.type === b.type;

/** `[number, id, graph, extra_data, outputs]` */
export function queueEntry({ number, id, graph, extra, read, createdAt }: Prompt): unknown[] {
  return [number, id, graph, { ...extra, create_time: createdAt }, read.outputs.map(({ node }) => node)];
}

export function historyEntry(prompt: Prompt, job: Job) {
  const isDone = job.state === 'done';
  const warnings = [...prompt.read.notes, ...(job.result?.report.warnings ?? [])];
  return {
    prompt: queueEntry(prompt),
    outputs: Object.fromEntries(prompt.outputs),
    status: { status_str: isDone ? 'success' : 'error', completed: isDone, messages: prompt.messages },
    meta: Object.fromEntries(
      [...prompt.outputs.keys()].map((node) => [
        node,
        { node_id: node, display_node: node, parent_node: null, real_node_id: node },
      ]),
    ),
    // Of this server: what had no effect.
    ...(warnings.length > 0 ? { warnings } : {}),
  };
}
