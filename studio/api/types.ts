/** What the server's answers hold; its own types where it has them. */
import type { GenerateReport, JobError, JobEvent, JobFile, JobState } from '../../src/serve/jobs/job.ts';

export type { GenerateReport, JobError, JobState };

/** As `JobEvent`, with pictures in base64. */
export type ViewedEvent =
  | Exclude<JobEvent, { type: 'preview' }>
  | { type: 'preview'; step: number; index: number; file: Omit<JobFile, 'bytes'> & { base64: string } };

export type StepEvent = Extract<JobEvent, { type: 'step' }>;

export interface FileView extends Omit<JobFile, 'bytes'> {
  url: string;
  size: number;
}

export interface JobView {
  id: string;
  model: string;
  state: JobState;
  cancelling: boolean;
  /** Of one that waits, from 0. */
  position?: number;
  createdAt: number;
  startedAt: number | null;
  finishedAt: number | null;
  progress: { step: number; steps: number; reusedSteps: number };
  preview: FileView | null;
  options: Readonly<Record<string, unknown>> | null;
  files: readonly FileView[];
  /** In lists without `summary`. */
  report: (Omit<GenerateReport, 'summary'> & Partial<Pick<GenerateReport, 'summary'>>) | null;
  error: JobError | null;
}

/** What is used of JSON Schema. */
export interface Schema {
  type?: string | readonly string[];
  anyOf?: readonly Schema[];
  items?: Schema | false;
  enum?: readonly unknown[];
  minimum?: number;
  maximum?: number;
  multipleOf?: number;
  default?: unknown;
  description?: string;
  contentMediaType?: string;
}

export interface ModelView {
  id: string;
  /** When the server began, in seconds since 1970. */
  created: number;
  state: 'unloaded' | 'loading' | 'loaded' | 'failed';
  error?: string;
  pipeline?: string;
  output?: string;
  subject?: 'prompt' | 'classes' | string;
  /** The option that guides. */
  guidance?: string;
  options?: { properties: Readonly<Record<string, Schema>>; required: readonly string[] };
  groups?: readonly { title: string; options: readonly string[] }[];
}

/** What a job draws, in words. */
export const textOf = ({ options, id }: Pick<JobView, 'options' | 'id'>): string =>
  [options?.['prompt'] ?? options?.['classLabels'] ?? id.slice(0, 8)].flat().join(', ');

export const isOver = (state: JobState): boolean => state === 'done' || state === 'failed' || state === 'cancelled';
