/** Servers for tests: on the bundled model or others, ended with the test file. */
import { afterAll } from 'vitest';
import type { Image } from '../../images/image.ts';
import { createServer, type Server } from '../server.ts';
import type { ServerOptions } from '../settings.ts';

/** A server that is warm. */
export async function startServer(options: ServerOptions = {}): Promise<Server> {
  const server = createServer(options);
  afterAll(() => server.close());
  await server.ready;
  return server;
}

export interface Answer<Body> {
  status: number;
  headers: Headers;
  body: Body;
}

/** Sends JSON, or nothing, and reads JSON. */
export async function ask<Body = Record<string, unknown>>(
  server: Pick<Server, 'fetch'>,
  path: string,
  {
    body,
    method = body === undefined ? 'GET' : 'POST',
    headers,
  }: { body?: unknown; method?: string; headers?: Record<string, string> } = {},
): Promise<Answer<Body>> {
  const request = new Request(`http://localhost${path}`, {
    method,
    ...(headers ? { headers } : {}),
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const answer = await server.fetch(request);
  return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Body };
}

/** The largest difference between two pictures, in levels of 0 to 255: calls that share a run may differ in the last bit of a float. */
export function levels(a: Image, b: Image): number {
  if (a.data.length !== b.data.length) return 255;
  return a.data.reduce((most, level, i) => Math.max(most, Math.abs(level - b.data[i]!)), 0);
}
