/** OpenAI's images: generations, edits and variations, whole or as a stream. The same routes are SGLang Diffusion's and vLLM-Omni's. */
import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { streamSSE } from 'hono/streaming';
import type { Core, Skin, Variables } from '../core.ts';
import { checked, endpoint, readForm, readJson } from '../http/endpoint.ts';
import { fileAnswer } from '../http/file-answer.ts';
import { finishedFor } from '../http/finished-for.ts';
import { Problem } from '../http/problem.ts';
import type { JobFile } from '../jobs/job.ts';
import type { Outputs } from '../outputs.ts';
import { type DoneJob, imagesAnswer, requireDone } from './answer.ts';
import { openaiError } from './error.ts';
import { type ImageFields, imageFields } from './fields.ts';
import { type FormParts, formFields, type Mask } from './form.ts';
import { imageJob } from './image-request.ts';
import { streamImages } from './stream.ts';

const tag = 'openai';
/** Of `stream`, and of the format `file`. */
const otherwise = ['text/event-stream', 'image/*'];

const picture = z.string().describe('a file');
const editFields = imageFields.extend({
  image: z.array(picture).describe('pictures to start from'),
  mask: picture.optional().describe('what is transparent in it is drawn anew, by models that inpaint'),
  mask_image: picture.optional().describe('or what is white in it'),
  strength: z.number().nullish(),
});
const variationFields = z.object({ image: picture, n: z.int().nullish(), size: z.string().nullish() });

export const openaiSkin: Skin = {
  name: tag,
  paths: ['/v1', '/v1/images', '/v1/models'],
  error: openaiError,
  routes(app, core) {
    endpoint(
      app,
      {
        method: 'post',
        path: '/v1/images/generations',
        tag,
        summary: 'Draw from a text',
        body: imageFields,
        otherwise,
      },
      async (context) =>
        answer(context, { core, fields: await readJson(context, imageFields), name: 'image_generation' }),
    );
    endpoint(
      app,
      {
        method: 'post',
        path: '/v1/images/edits',
        tag,
        summary: 'Draw from a text and pictures',
        body: editFields,
        bodyType: 'multipart/form-data',
        otherwise,
      },
      async (context) => {
        const { fields, ...pictures } = await formOf(context, core);
        return answer(context, { core, fields: checked(imageFields, fields), ...pictures, name: 'image_edit' });
      },
    );
    endpoint(
      app,
      {
        method: 'post',
        path: '/v1/images/variations',
        tag,
        summary: 'Draw a picture again, a little different',
        body: variationFields,
        bodyType: 'multipart/form-data',
        otherwise,
      },
      async (context) => {
        const { fields, ...pictures } = await formOf(context, core);
        return answer(context, {
          core,
          fields: checked(imageFields, { prompt: '', ...fields }),
          ...pictures,
          name: 'image_edit',
        });
      },
    );
    endpoint(
      app,
      {
        method: 'get',
        path: '/v1/images/{id}/content',
        tag,
        summary: 'A picture that was asked for as a url',
        query: z.object({ variant: z.string().optional() }),
        answer: 'image/*',
      },
      (context) => {
        const id = context.req.param('id')!;
        const variant = context.req.query('variant') ?? '0';
        const file = /^\d+$/.test(variant) ? core.jobs.get(id)?.result?.files[Number(variant)] : undefined;
        if (!file)
          throw new Problem(404, `there is no picture ${variant} of '${id}'; it may have been removed to make room`);
        return fileAnswer(file, `${id}-${variant}`);
      },
    );
  },
};

interface Asked {
  core: Core;
  fields: ImageFields;
  images?: readonly Uint8Array[];
  mask?: Mask | undefined;
  name: string;
}

type RequestContext = Context<{ Variables: Variables }>;

async function answer(context: RequestContext, { core, fields, images, mask, name }: Asked): Promise<Response> {
  const { request, warnings } = await imageJob(core, fields, { images, mask });
  const job = core.jobs.submit(request);
  context.get('log').info({ job: job.id }, 'job created');
  if (fields.stream) return streamSSE(context, (stream) => streamImages(stream, { core, job, name }));
  const done = requireDone(await finishedFor(core, job.id, context.req.raw.signal), core);
  const { output_path: folder } = fields;
  const files = folder && core.outputs ? await saved(done, { folder, outputs: core.outputs }) : [];
  if (fields.response_format === 'file') {
    if (done.result.files.length === 1) return fileAnswer(done.result.files[0]!, job.id);
    throw new Problem(400, "'file' is one picture; ask for n 1", { param: 'response_format' });
  }
  const asUrl = fields.response_format === 'url';
  return context.json(imagesAnswer(done, { asUrl, origin: new URL(context.req.url).origin, core, warnings, files }));
}

/** @returns the paths of the files */
function saved({ id, result }: DoneJob, { folder, outputs }: { folder: string; outputs: Outputs }): Promise<string[]> {
  const save = (file: JobFile, i: number) => outputs.save(file, { folder, name: `${id}_${i}`, param: 'output_path' });
  return Promise.all(result.files.map(save));
}

/** Fields and pictures of a form, or of JSON with the pictures as text. */
async function formOf(
  context: RequestContext,
  core: Core,
): Promise<{ fields: Record<string, unknown>; images: Uint8Array[]; mask: Mask | undefined }> {
  const isForm = /^multipart\/form-data/i.test(context.req.header('content-type') ?? '');
  const parts = isForm ? formFields(await readForm(context)) : jsonParts(await readJson(context, z.looseObject({})));
  const { fields, pictures, mask } = parts;
  if (pictures.length === 0) throw new Problem(400, 'is required', { param: 'image' });
  const images = await Promise.all(
    pictures.map((part, i) => core.pictures.fromPart(part, pictures.length === 1 ? 'image' : `image[${i}]`)),
  );
  return { fields, images, mask };
}

function jsonParts({ image, images, url, mask, mask_image, ...fields }: Record<string, unknown>): FormParts {
  const given = [image, images, url].flat().filter((one) => one !== undefined && one !== null);
  const textOf = (one: unknown, param: string) => {
    const text = typeof one === 'object' ? (one as { image_url?: unknown }).image_url : one;
    if (typeof text === 'string') return text;
    throw new Problem(400, 'expected a picture in base64, or a data: URL', { param });
  };
  const [name, part] = mask ? (['mask', mask] as const) : (['mask_image', mask_image] as const);
  return {
    fields,
    pictures: given.map((one) => textOf(one, 'image')),
    mask: part ? { name, part: textOf(part, name) } : undefined,
  };
}
