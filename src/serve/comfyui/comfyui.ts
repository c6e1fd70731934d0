/**
 * The protocol of ComfyUI: graphs at `/prompt`, what comes of them at `/ws`, `/history` and `/view`; every path also below `/api`. A
 * graph ends in one request of a pipeline (`graph.ts`); there are no files behind the names of pictures.
 */
import { randomUUID } from 'node:crypto';
import { z } from '@hono/zod-openapi';
import type { Context, Handler } from 'hono';
import { Image } from '../../images/image.ts';
import type { Skin, Variables } from '../core.ts';
import { type Endpoint, endpoint, readForm, readJson } from '../http/endpoint.ts';
import { Problem } from '../http/problem.ts';
import { plainOptions } from '../requests/plain-options.ts';
import { Events } from './events.ts';
import { GraphProblem, graphSchema, readGraph } from './graph.ts';
import { lists, objectInfo } from './lists.ts';
import { historyEntry, Prompts, queueEntry } from './prompts.ts';
import { Sockets } from './sockets.ts';
import { Uploads } from './uploads.ts';

const tag = 'comfyui';

const promptBody = z.looseObject({
  prompt: graphSchema,
  client_id: z.string().nullish().describe('of the socket that is told about it'),
  prompt_id: z.uuid().nullish(),
  partial_execution_targets: z.array(z.string()).nullish().describe('not taken: a graph is run as a whole'),
  front: z.boolean().nullish().describe('before all others'),
  number: z.number().nullish().describe('lower ones go first'),
  extra_data: z
    .looseObject({ extra_pnginfo: z.looseObject({}).nullish(), preview_method: z.string().nullish() })
    .nullish()
    .describe('extra_pnginfo.workflow goes into the files; preview_method none: no previews'),
});
const ids = z.array(z.string()).max(10000).nullish();
const removal = z.looseObject({ clear: z.boolean().nullish(), delete: ids });
const viewQuery = z.object({
  filename: z.string(),
  subfolder: z.string().optional(),
  type: z.enum(['output', 'temp', 'input']).optional(),
  preview: z.string().optional(),
  channel: z.string().optional(),
});

export const comfyuiSkin: Skin = {
  name: tag,
  paths: [
    ...['/prompt', '/queue', '/history', '/view', '/interrupt', '/free', '/object_info', '/system_stats', '/upload'],
    ...['/features', '/embeddings', '/extensions', '/models', '/internal', '/ws', '/api'],
  ],
  error: (problem) => {
    const {
      details = problem.param ?? '',
      extra = {},
      nodes = {},
    } = problem instanceof GraphProblem ? problem.about : {};
    return {
      error: { type: problem.code, message: problem.message, details, extra_info: extra },
      node_errors: nodes,
    };
  },
  routes(app, core) {
    const { jobs, settings } = core;
    const prompts = new Prompts(jobs);
    const uploads = new Uploads({ bytes: settings.keepMemory, maxPixels: settings.maxPixels });
    const sockets = new Sockets(() => prompts.remaining);
    const events = new Events(prompts, sockets);
    const around = { core, uploads };
    jobs.watch((job, event) => events.hear(job, event));

    type Described = Omit<Endpoint, 'tag'>;
    const route = (described: Described, handler: Handler<{ Variables: Variables }>) => {
      endpoint(app, { ...described, tag }, handler);
      const path = `/api${described.path.replace(/\{(\w+)\}/g, ':$1')}`;
      app.on(described.method.toUpperCase(), path, handler);
    };
    for (const path of ['/ws', '/api/ws']) app.get(path, sockets.handler);

    route({ method: 'post', path: '/prompt', summary: 'Run a graph', body: promptBody }, async (context) => {
      const { prompt: graph, ...body } = await readJson(context, promptBody);
      const id = body.prompt_id ?? randomUUID();
      if (prompts.get(id)) throw new Problem(400, `there is a prompt '${id}' already`, { param: 'prompt_id' });
      if (body.partial_execution_targets?.length)
        throw new Problem(400, 'a graph is run as a whole here; leave it out', { param: 'partial_execution_targets' });
      const read = readGraph(graph, around);
      const { model, options } = read.drawing;
      const client = body.client_id ?? undefined;
      const isWatched = client !== undefined && body.extra_data?.preview_method !== 'none';
      const workflow = body.extra_data?.extra_pnginfo?.['workflow'];
      const job = jobs.submit({
        kind: 'generate',
        model,
        client: tag,
        priority: body.front ? 1 : 0 - (body.number ?? 0),
        input: {
          options: await plainOptions(options, core.pictures),
          output: { metadata: { comfyui: { prompt: graph, ...(workflow === undefined ? {} : { workflow }) } } },
          ...(isWatched ? { previews: { count: 3, maxSize: 512 } } : {}),
        },
      });
      const extra = { ...body.extra_data, ...(client === undefined ? {} : { client_id: client }) };
      const prompt = prompts.add({ id, job: job.id, client, graph, extra, read });
      context.get('log').info({ job: job.id, prompt: id }, 'job created');
      if (job.state === 'running') events.started(prompt);
      sockets.sendStatus();
      return context.json({ prompt_id: id, number: prompt.number, node_errors: {} });
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
      return context.json({});
    });
    const stopped = z.looseObject({ prompt_id: z.string().nullish() });
    route(
      { method: 'post', path: '/interrupt', summary: 'End those that run, or one', body: stopped },
      async (context) => {
        const isEmpty = (await context.req.text()).trim() === '';
        const { prompt_id: one } = isEmpty ? {} : await readJson(context, stopped);
        for (const { id, job } of prompts.list('running')) if (!one || one === id) jobs.cancel(job);
        return context.json({});
      },
    );

    const history = (list: ReturnType<typeof prompts.list>) =>
      Object.fromEntries(
        list.flatMap((prompt) => {
          const job = jobs.get(prompt.job);
          return job ? [[prompt.id, historyEntry(prompt, job)]] : [];
        }),
      );
    const page = z.object({ max_items: z.string().optional(), offset: z.string().optional() });
    route({ method: 'get', path: '/history', summary: 'Those that are over', query: page }, (context) => {
      const whole = (name: string) => {
        const text = context.req.query(name);
        return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
      };
      const all = prompts.list('finished');
      const count = whole('max_items') ?? all.length;
      const from = whole('offset') ?? Math.max(0, all.length - count);
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

    route({ method: 'get', path: '/view', summary: 'A picture', query: viewQuery, answer: 'image/*' }, (context) =>
      view(context, { prompts, uploads }),
    );
    route(
      {
        method: 'post',
        path: '/upload/image',
        summary: 'Send a picture for LoadImage',
        bodyType: 'multipart/form-data',
        body: z.looseObject({ image: z.string().meta({ format: 'binary' }), overwrite: z.string().optional() }),
      },
      async (context) => {
        const form = await readForm(context);
        const [image] = form.get('image') ?? [];
        if (!(image instanceof File)) throw new Problem(400, 'must be a file', { param: 'image' });
        const field = (name: string) => String(form.get(name)?.[0] ?? '');
        const subfolder = field('subfolder').replace(/^\/+|\/+$/g, '');
        const folder = subfolder === '' ? '' : `${subfolder}/`;
        const bytes = await core.pictures.fromPart(image, 'image');
        const isReplacing = ['true', '1'].includes(field('overwrite'));
        const name = await uploads.add(`${folder}${image.name || 'image.png'}`, bytes, isReplacing);
        return context.json({ name: name.slice(folder.length), subfolder, type: field('type') || 'input' });
      },
    );

    route({ method: 'get', path: '/object_info', summary: 'All node classes' }, (context) =>
      context.json(objectInfo(around)),
    );
    route({ method: 'get', path: '/object_info/{name}', summary: 'One node class' }, (context) =>
      context.json(objectInfo(around, context.req.param('name')!)),
    );
    for (const [name, list] of Object.entries(lists(core)))
      route({ method: 'get', path: `/${name}`, summary: `What there is: ${name}` }, (context) => context.json(list()));
    // One client waits for this before it does anything; logs are not for clients to read.
    app.patch('/internal/logs/subscribe', (context) => context.json({}));
    route({ method: 'post', path: '/free', summary: 'Nothing: models go when others need their memory' }, (context) =>
      context.json({}),
    );
  },
};

async function view(context: Context, { prompts, uploads }: { prompts: Prompts; uploads: Uploads }): Promise<Response> {
  const { filename = '', subfolder = '', type = 'output', preview, channel } = context.req.query();
  const path = subfolder === '' ? filename : `${subfolder}/${filename}`;
  const file = type === 'input' ? uploads.get(path) : prompts.find({ filename, subfolder, type });
  if (!file) throw new Problem(404, `there is no ${type} '${path}'; it may have been removed to make room`);
  if (channel === 'a') throw new Problem(400, 'pictures have no alpha here', { param: 'channel' });
  const [, format, quality] = /^(webp|jpeg)(?:;(\d{1,3}))?$/.exec(preview ?? '') ?? [];
  if (format !== 'webp' && format !== 'jpeg')
    return new Response(file.bytes, {
      headers: { 'content-type': file.type },
    });
  const picture = await Image.load(file.bytes);
  const bytes = await picture.encode(format, { quality: Math.min(100, Math.max(1, Number(quality ?? 90))) });
  return new Response(bytes, { headers: { 'content-type': `image/${format}` } });
}
