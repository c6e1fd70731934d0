/** `/prompt` and what becomes of prompts: the queue, history, and the list of both. */
import { createHash, randomUUID } from 'node:crypto';
import { z } from '@hono/zod-openapi';
import { readJson } from '../../http/endpoint.ts';
import { Problem } from '../../http/problem.ts';
import type { PlainOptions } from '../../jobs/job.ts';
import { plainOptions } from '../../requests/plain-options.ts';
import { graphSchema, type ReadGraph, readGraph } from '../graph/graph.ts';
import type { LazyPicture } from '../graph/values.ts';
import { isKeyword } from '../png-workflow.ts';
import { historyEntry, type Prompt, queueEntry } from '../prompts.ts';
import { type AddRoute, type Parts, tag } from './routes.ts';

const promptBody = z.looseObject({
  prompt: graphSchema,
  client_id: z.string().nullish().describe('of the socket that is told about it'),
  prompt_id: z.uuid().nullish(),
  partial_execution_targets: z.array(z.string()).nullish().describe('not taken: a graph is run as a whole'),
  front: z.boolean().nullish().describe('before all others'),
  number: z.number().nullish().describe('lower ones go first'),
  extra_data: z
    .looseObject({ extra_pnginfo: z.record(z.string(), z.unknown()).nullish(), preview_method: z.string().nullish() })
    .nullish()
    .describe('extra_pnginfo, as workflow, goes into the files; preview_method none: no previews'),
});
const ids = z.array(z.string()).max(10000).nullish();
const removal = z.looseObject({ clear: z.boolean().nullish(), delete: ids });
const stopped = z.looseObject({ prompt_id: z.string().nullish() });

export function addRunRoutes(route: AddRoute, parts: Parts): void {
  const { core, prompts, sockets } = parts;
  const { jobs } = core;

  route({ method: 'post', path: '/prompt', summary: 'Run a graph', body: promptBody }, async (context) => {
    const body = await readJson(context, promptBody);
    const prompt = await run(body, parts);
    context.get('log').info({ job: prompt.job, prompt: prompt.id }, 'prompt taken');
    return context.json({ prompt_id: prompt.id, number: prompt.number, node_errors: {} });
  });
  route({ method: 'get', path: '/prompt', summary: 'How many there are' }, (context) =>
    context.json({ exec_info: { queue_remaining: prompts.remaining } }),
  );

  route({ method: 'get', path: '/queue', summary: 'Those that run and those that wait' }, (context) =>
    context.json({
      queue_running: prompts.list('running').map(queueEntry),
      queue_pending: prompts.list('queued').map(queueEntry),
    }),
  );
  route({ method: 'post', path: '/queue', summary: 'Remove those that wait', body: removal }, async (context) => {
    const { clear, delete: some = [] } = await readJson(context, removal);
    for (const { id, job } of prompts.list('queued')) if (clear || some?.includes(id)) jobs.cancel(job);
    sockets.sendStatus();
    return context.json({});
  });
  route(
    { method: 'post', path: '/interrupt', summary: 'End those that run, or one', body: stopped },
    async (context) => {
      const isEmpty = (await context.req.text()).trim() === '';
      const { prompt_id: one } = isEmpty ? {} : await readJson(context, stopped);
      for (const { id, job } of prompts.list('running')) if (!one || one === id) jobs.cancel(job);
      return context.json({});
    },
  );

  const entry = (prompt: Prompt) => historyEntry(prompt, jobs.get(prompt.job)!);
  const history = (list: readonly Prompt[]) => Object.fromEntries(list.map((prompt) => [prompt.id, entry(prompt)]));
  const page = z.object({ max_items: z.string().optional(), offset: z.string().optional() });
  route({ method: 'get', path: '/history', summary: 'Those that are over', query: page }, (context) => {
    const all = prompts.list('finished');
    const count = wholeNumber(context.req.query('max_items')) ?? all.length;
    const from = wholeNumber(context.req.query('offset')) ?? Math.max(0, all.length - count);
    return context.json(history(all.slice(from, from + count)));
  });
  route({ method: 'get', path: '/history/{id}', summary: 'One that is over' }, (context) =>
    context.json(history(prompts.list('finished').filter(({ id }) => id === context.req.param('id')))),
  );
  route({ method: 'post', path: '/history', summary: 'Forget some', body: removal }, async (context) => {
    const { clear, delete: some = [] } = await readJson(context, removal);
    for (const prompt of prompts.list('finished')) if (clear || some?.includes(prompt.id)) prompts.forget(prompt);
    return context.json({});
  });
}

export const wholeNumber = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;

/** Takes a prompt; what was drawn before is not drawn again. */
async function run(
  { prompt: graph, ...body }: z.infer<typeof promptBody>,
  { core, prompts, uploads, sockets, events }: Parts,
): Promise<Prompt> {
  const id = body.prompt_id ?? randomUUID();
  if (prompts.get(id)) throw new Problem(400, `there is a prompt '${id}' already`, { param: 'prompt_id' });
  if (body.partial_execution_targets?.length)
    throw new Problem(400, 'a graph is run as a whole here; leave it out', { param: 'partial_execution_targets' });
  const client = body.client_id ?? undefined;
  const extra = { ...body.extra_data, ...(client === undefined ? {} : { client_id: client }) };
  const wrong = Object.keys(extra.extra_pnginfo ?? {}).find((name) => !isKeyword(name));
  if (wrong !== undefined)
    throw new Problem(400, `'${wrong.slice(0, 100)}' cannot be the name of a text in a PNG`, {
      param: 'extra_data.extra_pnginfo',
    });
  const around = { core, uploads };
  let read = readGraph(graph, around);
  const { model } = read.drawing;
  // What options it has decides what some nodes mean.
  if (!core.models.info(model) && (await core.models.learn(model))) read = readGraph(graph, around);
  const options = await plainOptions(await withPictures(read.drawing.options), core);
  const key = keyOf({ model, options, read });
  const known = { id, client, graph, extra, read, key };
  const before = prompts.drawn(key);
  if (before) {
    const prompt = prompts.add({ ...known, job: before.job.id }, true);
    const same = prompts.show(prompt, before.job, before.prompt);
    // After the answer, which says what the events are about.
    setImmediate(() => events.answered(prompt, same));
    return prompt;
  }
  const isWatched = client !== undefined && body.extra_data?.preview_method !== 'none';
  const video = read.outputs[0]?.video;
  const job = core.jobs.submit({
    kind: 'generate',
    model,
    client: tag,
    priority: body.front ? 1 : 0 - (body.number ?? 0),
    input: {
      options,
      ...(video
        ? {
            output: {
              video: video.format,
              fps: video.fps,
              metadata: { comfyui: { prompt: graph, ...extra.extra_pnginfo } },
            },
          }
        : {}),
      ...(isWatched ? { previews: { count: 3, maxSize: 512 } } : {}),
    },
  });
  const prompt = prompts.add({ ...known, job: job.id });
  if (job.state === 'running') events.started(prompt);
  sockets.sendStatus();
  return prompt;
}

/** The options with the bytes of their pictures. */
async function withPictures(options: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>> {
  const isLazy = (value: unknown): value is LazyPicture =>
    typeof value === 'object' && value !== null && 'bytes' in value;
  const entries = Object.entries(options).map(async ([name, value]) => [
    name,
    isLazy(value) ? await value.bytes() : value,
  ]);
  return Object.fromEntries(await Promise.all(entries));
}

/** What is drawn, as a text: equal for prompts that draw the same. */
function keyOf({ model, options, read }: { model: string; options: PlainOptions; read: ReadGraph }): string {
  const plain = JSON.stringify([model, options, read.outputs[0]?.video], (_, value) =>
    value instanceof Uint8Array ? createHash('sha256').update(value).digest('hex') : value,
  );
  return createHash('sha256').update(plain).digest('hex');
}
