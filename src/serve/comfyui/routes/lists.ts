/** What clients ask about a server: its nodes, its models, its machine, its jobs. */
import { z } from '@hono/zod-openapi';
import type { Routes } from '../../core.ts';
import { Problem } from '../../http/problem.ts';
import { jobEntry, jobStates } from '../job-entry.ts';
import { lists } from '../lists.ts';
import { objectInfo } from '../object-info.ts';
import type { AddRoute, Parts } from './routes.ts';
import { wholeNumber } from './run.ts';

export function addListRoutes(app: Routes, route: AddRoute, parts: Parts): void {
  const { core, prompts, uploads } = parts;
  const around = { core, uploads };
  route({ method: 'get', path: '/object_info', summary: 'All node classes' }, (context) =>
    context.json(objectInfo(around)),
  );
  route({ method: 'get', path: '/object_info/{name}', summary: 'One node class' }, (context) =>
    context.json(objectInfo(around, context.req.param('name')!)),
  );
  for (const [name, list] of Object.entries(lists(core)))
    route({ method: 'get', path: `/${name}`, summary: `What there is: ${name}` }, (context) => context.json(list()));

  const query = z.object({
    status: z.string().optional(),
    limit: z.string().optional(),
    offset: z.string().optional(),
  });
  route({ method: 'get', path: '/jobs', summary: 'Prompts in any state, the newest first', query }, (context) => {
    const wanted = context.req.query('status')?.split(',') ?? Object.values(jobStates);
    const wrong = wanted.find((state) => !Object.values(jobStates).includes(state));
    if (wrong !== undefined)
      throw new Problem(400, `'${wrong}' is none of ${Object.values(jobStates).join(', ')}`, { param: 'status' });
    const all = (['queued', 'running', 'finished'] as const)
      .flatMap((state) => prompts.list(state))
      .map((prompt) => jobEntry(prompt, core.jobs.get(prompt.job)!))
      .filter(({ status }) => wanted.includes(status))
      .sort((a, b) => b.create_time - a.create_time);
    const [offset, limit] = [wholeNumber(context.req.query('offset')) ?? 0, wholeNumber(context.req.query('limit'))];
    const shown = all.slice(offset, limit === undefined ? undefined : offset + limit);
    const pagination = {
      offset,
      limit: limit ?? null,
      total: all.length,
      has_more: offset + shown.length < all.length,
    };
    return context.json({ jobs: shown, pagination });
  });
  const one = (id: string | undefined) => {
    const prompt = prompts.get(id ?? '');
    const job = prompt && core.jobs.get(prompt.job);
    if (!prompt || !job) throw new Problem(404, `there is no job '${id}'`);
    return { prompt, job };
  };
  route({ method: 'get', path: '/jobs/{id}', summary: 'One prompt' }, (context) => {
    const { prompt, job } = one(context.req.param('id'));
    return context.json(jobEntry(prompt, job, true));
  });
  route({ method: 'post', path: '/jobs/{id}/cancel', summary: 'End one that waits or runs' }, (context) => {
    const { job } = one(context.req.param('id'));
    core.jobs.cancel(job.id);
    return context.json({ cancelled: true });
  });

  // One client waits for this before it does anything; logs are not for clients to read.
  for (const path of ['/internal/logs/subscribe', '/api/internal/logs/subscribe'])
    app.patch(path, (context) => context.json({}));
  route({ method: 'post', path: '/free', summary: 'Nothing: models go when others need their memory' }, (context) =>
    context.json({}),
  );
}
