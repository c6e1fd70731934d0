/** The HTTP side that all protocols share: request ids and logs, keys, origins, limits, errors in each protocol's shape. */
import { randomUUID } from 'node:crypto';
import { OpenAPIHono } from '@hono/zod-openapi';
import { bodyLimit } from 'hono/body-limit';
import { cors as corsHeaders } from 'hono/cors';
import { routePath } from 'hono/route';
import { nearestName } from '../../errors/errors.ts';
import type { Core, Routes, Skin, Variables } from '../core.ts';
import { keyChecker } from './keys.ts';
import type { Metrics } from './metrics.ts';
import { refusedOrigin } from './origin.ts';
import { Problem, problemOf } from './problem.ts';

export interface AppOptions {
  core: Core;
  skins: readonly Skin[];
  metrics: Metrics;
}

export function createApp({ core, skins, metrics }: AppOptions): Routes {
  const { settings, jobs, log } = core;
  const app: Routes = new OpenAPIHono<{ Variables: Variables }>({
    defaultHook: (result) => {
      if (result.success) return;
      const [issue] = result.error.issues;
      throw new Problem(400, issue!.message, { param: issue!.path.join('.') || undefined });
    },
  });
  const shapeOf = (path: string) => closest(skins, path)?.error ?? plainError;
  const open = skins.flatMap((skin) => skin.open ?? []);
  const isOpen = (path: string) =>
    path === '/health' || open.some((prefix) => (prefix === '/' ? path === '/' : begins(path, prefix)));

  app.use(async (context, next) => {
    const begin = performance.now();
    const given = context.req.header('x-request-id') ?? '';
    const requestId = /^[\w.-]{1,128}$/.test(given) ? given : randomUUID();
    context.set('requestId', requestId);
    context.set('log', log.child({ requestId }));
    await next();
    context.header('x-request-id', requestId);
    context.header('x-content-type-options', 'nosniff');
    const [status, time, route] = [context.res.status, performance.now() - begin, routePath(context, -1)];
    const { method, path } = context.req;
    metrics.request({ method, route, status, time });
    context.get('log').info({ method, path, status, ms: Math.round(time) }, 'request');
  });
  if (settings.cors.length > 0)
    app.use(
      corsHeaders({ origin: settings.cors.includes('*') ? '*' : [...settings.cors], exposeHeaders: ['x-request-id'] }),
    );
  app.use(async (context, next) => {
    const refused = refusedOrigin(context.req.raw, settings);
    if (refused !== undefined) throw new Problem(403, refused);
    await next();
  });
  const mayPass = keyChecker(settings.apiKeys);
  app.use(async (context, next) => {
    const { path, raw, url } = context.req;
    if (!isOpen(path) && !mayPass(raw.headers) && !core.links.verify(new URL(url)))
      throw new Problem(401, 'this server needs an API key: Authorization: Bearer KEY');
    await next();
  });
  app.use(
    bodyLimit({
      maxSize: settings.maxBodyBytes,
      onError: () => {
        throw new Problem(413, `the body is larger than ${settings.maxBodyBytes} bytes`);
      },
    }),
  );

  app.onError((error, context) => {
    const problem = problemOf(error, jobs.retryAfter);
    if (problem.status >= 500) context.get('log')?.error({ err: problem.cause ?? problem }, 'request failed');
    if (problem.retryAfter !== undefined) context.header('retry-after', String(problem.retryAfter));
    // Clients of OpenAI ask again after an error of the server, and so would draw three times what cannot be drawn.
    if (problem.status === 500 || problem.status === 504) context.header('x-should-retry', 'false');
    if (problem.status === 401) context.header('www-authenticate', 'Bearer');
    return Response.json(shapeOf(context.req.path)(problem), {
      status: problem.status,
      headers: Object.fromEntries(context.res.headers),
    });
  });
  for (const skin of skins) skin.routes(app, core);
  app.notFound((context) => {
    const { method, path } = context.req;
    const routes = app.routes.filter((route) => route.method !== 'ALL');
    const allowed = [...new Set(routes.filter((route) => fits(route.path, path)).map((route) => route.method))];
    const nearest = nearestName(
      path,
      routes.map((route) => route.path),
    );
    const problem =
      allowed.length > 0
        ? new Problem(405, `${path} takes ${allowed.join(', ')}, not ${method}`)
        : new Problem(
            404,
            `there is no ${path}${nearest ? `; did you mean ${nearest}?` : ''}; /docs lists all there is`,
          );
    const headers = new Headers(allowed.length > 0 ? [['allow', allowed.join(', ')]] : []);
    return Response.json(shapeOf(path)(problem), { status: problem.status, headers });
  });
  return app;
}

/** Whether a path is one of a route's, as `/v1/jobs/:id`. */
function fits(route: string, path: string): boolean {
  const [parts, given] = [route.split('/'), path.split('/')];
  return (
    parts.length === given.length &&
    parts.every((part, i) => part === given[i] || (part.startsWith(':') && given[i] !== ''))
  );
}

function plainError({ message, code, param }: Problem): unknown {
  return { error: { message, code, ...(param === undefined ? {} : { param }) } };
}

function closest(skins: readonly Skin[], path: string): Skin | undefined {
  const fitting = skins.flatMap((skin) =>
    skin.paths.filter((prefix) => begins(path, prefix)).map((p) => ({ skin, p })),
  );
  return fitting.sort((a, b) => b.p.length - a.p.length)[0]?.skin;
}

/** Whether a path is a prefix, or below it. */
function begins(path: string, prefix: string): boolean {
  return prefix === '/' || path === prefix || path.startsWith(prefix.endsWith('/') ? prefix : `${prefix}/`);
}
