/** What every server has, whatever it is asked in: health, models, metrics, and the description of all of it. */
import type { Core, Routes, Skin } from '../core.ts';
import { endpoint } from '../http/endpoint.ts';
import { Problem } from '../http/problem.ts';
import type { ModelEntry } from '../models.ts';
import { optionsForm } from '../requests/options-form.ts';
import { docsPage } from './docs-page.ts';

const tag = 'server';

export const systemSkin: Skin = {
  name: tag,
  paths: ['/health', '/metrics', '/openapi.json', '/docs'],
  error: ({ message, code }) => ({ error: { message, code } }),
  routes(app, core) {
    endpoint(
      app,
      { method: 'get', path: '/health', tag, summary: 'OK when it can draw, else 503 and why', answer: 'text/plain' },
      (context) => {
        const why = core.notReady();
        return context.text(why ?? 'OK', why === undefined ? 200 : 503);
      },
    );
    endpoint(app, { method: 'get', path: '/v1/models', tag, summary: 'The models, the default one first' }, (context) =>
      context.json({ object: 'list', data: core.models.list().map(modelView(core)) }),
    );
    // A repository's name has a slash in it.
    endpoint(app, { method: 'get', path: '/v1/models/{name}', tag, summary: 'One model' }, (context) =>
      context.json(oneModel(core, context.req.param('name')!)),
    );
    endpoint(
      app,
      { method: 'post', path: '/v1/models/{name}/load', tag, summary: 'Load a model ahead of need', status: 202 },
      (context) => {
        const name = core.models.require(context.req.param('name')!);
        if (!core.load) throw new Problem(501, 'workers of a queue load their models themselves');
        core.load(name);
        return context.json(oneModel(core, name), 202);
      },
    );
    app.get('/v1/models/:owner/:name', (context) => context.json(oneModel(core, context.req.param('name'))));
    endpoint(
      app,
      { method: 'get', path: '/metrics', tag, summary: 'Prometheus metrics', answer: 'text/plain' },
      async () => {
        const { contentType, text } = await core.metrics();
        return new Response(text, { headers: { 'content-type': contentType } });
      },
    );
    endpoint(app, { method: 'get', path: '/openapi.json', tag, summary: 'This description' }, (context) =>
      context.json(openApiDocument(app)),
    );
    endpoint(app, { method: 'get', path: '/docs', tag, summary: 'The same to read', answer: 'text/html' }, (context) =>
      context.html(docsPage(openApiDocument(app)), 200, {
        'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
      }),
    );
  },
};

function oneModel(core: Core, name: string): object {
  const entry = core.models.list().find((model) => model.name === name);
  if (!entry) throw new Problem(404, `no model '${name}'; known: ${core.models.list().map(({ name }) => name)}`);
  return modelView(core)(entry);
}

/** As OpenAI shows models, and what is known of it. */
function modelView({ startedAt }: Core) {
  return ({ name, now }: ModelEntry): object => ({
    id: name,
    object: 'model',
    created: Math.floor(startedAt / 1000),
    owned_by: 'deja-dit',
    state: now.state,
    ...(now.state === 'failed' ? { error: now.error.message } : {}),
    ...(now.state === 'loaded'
      ? {
          bytes: now.bytes,
          pipeline: now.info.className,
          backend: now.info.backend,
          output: now.info.output,
          subject: now.info.subject,
          guidance: now.info.guidance,
          ...optionsForm(now.info.schema),
        }
      : {}),
  });
}

function openApiDocument(app: Routes) {
  return app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'deja-dit',
      version: '1',
      description: 'Diffusion Transformers over HTTP: its own jobs, and the protocols that clients already speak.',
    },
  });
}
