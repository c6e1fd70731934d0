/**
 * What strangers send: requests made from the server's own description, with values that fit and values that do not, and bodies that are
 * no requests at all. Nothing may be the server's fault, and nothing may come to be outside of it.
 */
import { beforeAll, expect, it } from 'vitest';
import { fractions } from '../files/testing/fuzz.ts';
import type { Server } from './server.ts';
import { startServer } from './testing/start.ts';

interface Schema {
  type?: string | string[];
  enum?: unknown[];
  properties?: Record<string, Schema>;
  items?: Schema;
  anyOf?: Schema[];
}

interface Operation {
  requestBody?: { content: Record<string, { schema: Schema }> };
  parameters?: { name: string; in: string }[];
}

const hostile: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  0.5,
  1e308,
  '',
  'auto',
  '../../etc/passwd',
  '\u0000\u202e',
  '\ud800',
  'x'.repeat(5000),
  [],
  [null],
  [[]],
  {},
  { $bytes: 'AAAA' },
  { __proto__: 1, constructor: { prototype: {} } },
  'data:image/png;base64,AAAA',
  'http://169.254.169.254/',
  2 ** 53,
];

let server: Server;
let operations: { method: string; path: string; operation: Operation }[];
beforeAll(async () => {
  server = await startServer({ maxSteps: 2, maxPixels: 64 * 64, maxImages: 1, maxQueued: 2000, timeout: 20 });
  const answer = await server.fetch(new Request('http://localhost/openapi.json'));
  const { paths } = (await answer.json()) as { paths: Record<string, Record<string, Operation>> };
  operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );
});

const pick = <T>(next: () => number, list: readonly T[]): T => list[Math.floor(next() * list.length)]!;

function fieldOf(schema: Schema, next: () => number): unknown {
  if (next() < 0.15) return pick(next, hostile);
  if (schema.enum) return pick(next, schema.enum);
  if (schema.anyOf) return fieldOf(pick(next, schema.anyOf), next);
  const type = Array.isArray(schema.type) ? pick(next, schema.type) : schema.type;
  if (type === 'object') return objectOf(schema, next);
  if (type === 'array') return [fieldOf(schema.items ?? {}, next)];
  if (type === 'integer') return Math.floor(next() * 4);
  if (type === 'number') return next() * 10;
  if (type === 'boolean') return next() < 0.5;
  if (type === 'string') return pick(next, ['red apple', '64x64', 'auto']);
  return pick(next, hostile);
}

function objectOf({ properties = {} }: Schema, next: () => number): Record<string, unknown> {
  const entries = Object.entries(properties).filter(([name]) => name === 'prompt' || next() < 0.3);
  const fields = Object.fromEntries(entries.map(([name, schema]) => [name, fieldOf(schema, next)]));
  // Small, or a few would take all the time; and now and then a field that nobody knows.
  const small = { num_inference_steps: 1, width: 32, height: 32 };
  return { ...(next() < 0.5 ? small : {}), ...fields, ...(next() < 0.05 ? { [String(pick(next, hostile))]: 1 } : {}) };
}

/** @returns why an answer is a fault of the server's; undefined if it is none */
async function fault(request: Request): Promise<string | undefined> {
  const stop = new AbortController();
  const { status, body, headers } = await server.fetch(new Request(request, { signal: stop.signal }));
  const isStream = headers.get('content-type')?.startsWith('text/event-stream');
  const text = isStream ? '' : await new Response(body).text();
  if (isStream) await body?.cancel();
  stop.abort();
  if (status >= 500 && status !== 504) return `${status} ${text.slice(0, 200)}`;
  return /\bat .*\.(ts|js):\d+/.test(text) ? `a stack trace: ${text.slice(0, 200)}` : undefined;
}

const post = (path: string, body: string | FormData, headers: Record<string, string> = {}) =>
  new Request(`http://localhost${path}`, { method: 'POST', body, headers });

it('answers what is made from its description, and finds no fault with itself', { timeout: 300_000 }, async () => {
  const next = fractions(7);
  for (let i = 0; i < 250; i++) {
    const { method, path, operation } = pick(next, operations);
    const url = path.replace(/\{\w+\}/g, () =>
      encodeURIComponent(String(pick(next, ['0', 'emoji-flux', '..', '../../x', 'é\u0000']))),
    );
    const [type, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
    const fields = content ? objectOf(content.schema, next) : undefined;
    let request = new Request(`http://localhost${url}`, { method });
    if (fields && type === 'multipart/form-data') {
      const form = new FormData();
      for (const [name, value] of Object.entries(fields))
        form.append(name, typeof value === 'string' ? value.replace(/[\ud800-\udfff]/g, '?') : JSON.stringify(value));
      request = post(url, form);
    } else if (fields) request = post(url, JSON.stringify(fields));
    expect(await fault(request), `${i}: ${method} ${url} ${JSON.stringify(fields)}`).toBeUndefined();
  }
});

it('answers a thousand bodies that are no requests', { timeout: 120_000 }, async () => {
  const next = fractions(8);
  const paths = operations.filter(({ method }) => method === 'POST').map(({ path }) => path);
  for (let i = 0; i < 1000; i++) {
    const bytes = Array.from({ length: Math.floor(next() * 60) }, () => Math.floor(next() * 256));
    const body = pick(next, [
      String.fromCharCode(...bytes),
      '{'.repeat(1 + Math.floor(next() * 20_000)),
      '[1,2',
      '"text"',
      '1e999',
      JSON.stringify(pick(next, hostile)),
      `{"prompt":${'['.repeat(50_000)}`,
      '--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc',
    ]);
    const type = pick(next, [
      'application/json',
      'multipart/form-data; boundary=x',
      'multipart/form-data',
      'text/plain',
      'image/png',
    ]);
    const path = pick(next, paths);
    expect(
      await fault(post(path, body, { 'content-type': type })),
      `${i}: ${path} ${type} ${body.slice(0, 100)}`,
    ).toBeUndefined();
  }
  expect((await server.fetch(new Request('http://localhost/health'))).status).toBe(200);
  // Some paths answer before their jobs are over: none hangs.
  const { running, queued } = server.core.jobs.list();
  for (const { id } of [...running, ...queued]) await server.core.jobs.finished(id);
  expect(server.core.jobs.counts).toMatchObject({ running: 0, queued: 0 });
});
