/**
 * What every protocol of the server stands on, and what one looks like to it. A protocol is a folder beside this file (a "skin"): it
 * turns its requests into jobs (`jobs/jobs.ts` shows how) and jobs into its answers, and nothing else. To add one, write a `Skin` and put
 * it into the list in `skins.ts`; its routes are then behind the keys, limits, logs and metrics of the server.
 */
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { Logger } from 'pino';
import type { Links } from './http/links.ts';
import type { Pictures } from './http/pictures.ts';
import type { Problem } from './http/problem.ts';
import type { Jobs } from './jobs/jobs.ts';
import type { Loras } from './loras.ts';
import type { Models } from './models.ts';
import type { Outputs } from './outputs.ts';
import type { ServerSettings } from './settings.ts';

export interface Core {
  readonly jobs: Jobs;
  readonly models: Models;
  readonly loras: Loras;
  /** Where files are written if a request asks for it; undefined: nowhere. */
  readonly outputs: Outputs | undefined;
  /** Pictures that clients send, in whatever way. */
  readonly pictures: Pictures;
  /** Paths that need no key. */
  readonly links: Links;
  readonly settings: ServerSettings;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** Why it cannot draw yet, or any more. */
  notReady(): string | undefined;
  /** Loads a model ahead of need, where the models are this server's own; `models` shows when it has. */
  readonly load: ((name: string) => void) | undefined;
  /** Of the process that draws, while there is one here. */
  readonly enginePid: number | undefined;
  metrics(): Promise<{ contentType: string; text: string }>;
}

/** What handlers find with `context.get(…)`. */
export interface Variables {
  requestId: string;
  log: Logger;
}

export type Routes = OpenAPIHono<{ Variables: Variables }>;

export interface Skin {
  /** A tag in the documentation. */
  name: string;
  /** Beginnings of the paths whose errors are in its shape, unknown paths and wrong keys included; the longest that fits counts. */
  paths: readonly string[];
  /** Beginnings of paths that need no key, as those of a page that asks for it; `/` is that path alone. Default: none. */
  open?: readonly string[];
  /** Adds its routes, with absolute paths. What a handler throws is answered in the shape of `error`. */
  routes(app: Routes, core: Core): void;
  /** The body of an error, as JSON. */
  error(problem: Problem): unknown;
}
