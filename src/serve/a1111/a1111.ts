/** The protocol of Automatic1111's web UI, `/sdapi/v1`: what its many clients ask of it. Errors are `{ error, detail, body, errors }`. */
import { z } from '@hono/zod-openapi';
import { parametersText } from '../../images/metadata.ts';
import { readMetadata } from '../../images/read-metadata.ts';
import type { Core, Skin } from '../core.ts';
import { endpoint, readJson } from '../http/endpoint.ts';
import { finishedFor } from '../http/finished-for.ts';
import type { Job } from '../jobs/job.ts';
import { imagesAnswer, progressAnswer } from './answer.ts';
import { type Fields, img2imgFields, txt2imgFields } from './fields.ts';
import { client, imageRequest } from './image-request.ts';
import { lists } from './lists.ts';
import { initialOptions, optionFields, setOptions } from './options.ts';

const tag = 'a1111';
const at = (name: string) => `/sdapi/v1/${name}`;

export const a1111Skin: Skin = {
  name: tag,
  paths: ['/sdapi/v1'],
  error: ({ code, message }) => ({ error: code, detail: message, body: '', errors: message }),
  routes(app, core) {
    const state = initialOptions();
    const own = () => {
      const { running, queued } = core.jobs.list();
      return [...running, ...queued].filter(({ request }) => request.client === client);
    };
    const draw = (name: 'txt2img' | 'img2img', summary: string, body: z.ZodType<Fields>) =>
      endpoint(app, { method: 'post', path: at(name), tag, summary, body }, async (context) => {
        const fields = await readJson(context, body);
        const asked = await imageRequest(core, fields, state);
        const { id } = core.jobs.submit(asked.request);
        context.get('log').info({ job: id }, 'job created');
        const job = await finishedFor(core, id, context.req.raw.signal);
        if (fields.save_images) await save(core, job);
        return context.json(imagesAnswer(job, fields, asked, core));
      });
    draw('txt2img', 'Draw from a text', txt2imgFields);
    draw('img2img', 'Draw from a text and a picture', img2imgFields);

    endpoint(
      app,
      {
        method: 'get',
        path: at('progress'),
        tag,
        summary: 'How far the current request is, with its last preview',
        query: z.object({ skip_current_image: z.string().optional() }),
      },
      (context) =>
        context.json(progressAnswer(own(), { withImage: context.req.query('skip_current_image') !== 'true' })),
    );
    const stop = (name: string, summary: string) =>
      endpoint(app, { method: 'post', path: at(name), tag, summary }, (context) => {
        for (const { id, state: now } of own()) if (now === 'running') core.jobs.cancel(id);
        return context.json({});
      });
    stop('interrupt', 'End the requests that run');
    stop('skip', 'The same');

    for (const [name, list] of Object.entries(lists(core, state)))
      endpoint(app, { method: 'get', path: at(name), tag, summary: `What there is: ${name}` }, (context) =>
        context.json(list() as object),
      );
    endpoint(
      app,
      { method: 'post', path: at('options'), tag, summary: 'Choose the model, or previews', body: optionFields },
      async (context) => {
        setOptions(state, await readJson(context, optionFields), core);
        return context.json(null);
      },
    );
    for (const name of ['refresh-checkpoints', 'refresh-vae', 'refresh-loras'])
      endpoint(
        app,
        { method: 'post', path: at(name), tag, summary: 'Nothing: models are given at the start' },
        (context) => context.json(null),
      );
    const pngInfo = z.looseObject({ image: z.string() });
    endpoint(
      app,
      { method: 'post', path: at('png-info'), tag, summary: 'What made a picture, from its file', body: pngInfo },
      async (context) => {
        const { image } = await readJson(context, pngInfo);
        const metadata = await readMetadata(await core.pictures.fromText(image, 'image'));
        const info = metadata ? parametersText(metadata) : '';
        return context.json({ info, items: info ? { parameters: info } : {}, parameters: metadata ?? {} });
      },
    );
  },
};

async function save({ outputs }: Core, { id, result }: Job<'generate'>): Promise<void> {
  for (const [i, file] of (result?.files ?? []).entries())
    await outputs?.save(file, { name: `${id}_${i}`, param: 'save_images' });
}
