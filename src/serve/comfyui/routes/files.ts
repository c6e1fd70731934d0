/** `/view` and `/upload`: pictures that were drawn, and those that clients send. */
import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { Image } from '../../../images/image.ts';
import { readForm } from '../../http/endpoint.ts';
import { Problem } from '../../http/problem.ts';
import { withWorkflow } from '../png-workflow.ts';
import type { AddRoute, Parts } from './routes.ts';

const viewQuery = z.object({
  filename: z.string(),
  subfolder: z.string().optional(),
  type: z.enum(['output', 'temp', 'input']).optional(),
  preview: z.string().optional(),
  channel: z.string().optional(),
});
const sentFile = { image: z.string().meta({ format: 'binary' }), overwrite: z.string().optional() };

export function addFileRoutes(route: AddRoute, { core, prompts, uploads }: Parts): void {
  route({ method: 'get', path: '/view', summary: 'A picture', query: viewQuery, answer: 'image/*' }, (context) =>
    view(context, { prompts, uploads }),
  );
  route(
    {
      method: 'post',
      path: '/upload/image',
      summary: 'Send a picture for LoadImage',
      bodyType: 'multipart/form-data',
      body: z.looseObject(sentFile),
    },
    async (context) => {
      const form = await readForm(context);
      return context.json(await upload(form, async (bytes) => bytes));
    },
  );
  route(
    {
      method: 'post',
      path: '/upload/mask',
      summary: 'Send a mask: the alpha of this picture becomes that of another one, which was sent or drawn before',
      bodyType: 'multipart/form-data',
      body: z.looseObject({ ...sentFile, original_ref: z.string() }),
    },
    async (context) => {
      const form = await readForm(context);
      const original = await Image.load(bytesOf(reference(form.get('original_ref')?.[0])));
      return context.json(await upload(form, (bytes) => masked(original, bytes)));
    },
  );

  type Form = Awaited<ReturnType<typeof readForm>>;

  async function upload(
    form: Form,
    change: (bytes: Uint8Array<ArrayBuffer>) => Promise<Uint8Array<ArrayBuffer>>,
  ): Promise<{ name: string; subfolder: string; type: string }> {
    const [image] = form.get('image') ?? [];
    if (!(image instanceof File)) throw new Problem(400, 'must be a file', { param: 'image' });
    const field = (name: string) => String(form.get(name)?.[0] ?? '');
    const subfolder = field('subfolder').replace(/^\/+|\/+$/g, '');
    const folder = subfolder === '' ? '' : `${subfolder}/`;
    const bytes = await change(await core.pictures.fromPart(image, 'image'));
    const isReplacing = ['true', '1'].includes(field('overwrite'));
    const name = await uploads.add(`${folder}${image.name || 'image.png'}`, bytes, isReplacing);
    return { name: name.slice(folder.length), subfolder, type: field('type') || 'input' };
  }

  function bytesOf({ filename, subfolder = '', type = 'output' }: z.infer<typeof fileReference>) {
    const path = subfolder === '' ? filename : `${subfolder}/${filename}`;
    const file = type === 'input' ? uploads.get(path) : prompts.find({ filename, subfolder, type })?.file;
    if (file) return file.bytes;
    throw new Problem(400, `there is no ${type} '${path}'`, { param: 'original_ref' });
  }
}

const fileReference = z.object({
  filename: z.string(),
  subfolder: z.string().optional(),
  type: z.string().optional(),
});

/** A file's name, as JSON. */
function reference(part: string | Blob | undefined): z.infer<typeof fileReference> {
  try {
    return fileReference.parse(JSON.parse(String(part)));
  } catch {
    throw new Problem(400, 'must be JSON, as {"filename": "a.png", "subfolder": "", "type": "input"}', {
      param: 'original_ref',
    });
  }
}

/** A picture with the alpha of another one. */
async function masked(original: Image, mask: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const { width, height, channels, data } = original;
  const sized = await (await Image.load(mask)).resize(width, height);
  const rgba = new Uint8Array(4 * width * height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    rgba.set(data.subarray(pixel * channels, pixel * channels + 3), 4 * pixel);
    rgba[4 * pixel + 3] = sized.channels === 4 ? sized.data[4 * pixel + 3]! : 255;
  }
  return new Image({ width, height, channels: 4, data: rgba }).encode('png');
}

async function view(context: Context, { prompts, uploads }: Pick<Parts, 'prompts' | 'uploads'>): Promise<Response> {
  const { filename = '', subfolder = '', type = 'output', preview, channel } = context.req.query();
  const path = subfolder === '' ? filename : `${subfolder}/${filename}`;
  const drawn = type === 'input' ? undefined : prompts.find({ filename, subfolder, type });
  const file = type === 'input' ? uploads.get(path) : drawn?.file;
  if (!file) throw new Problem(404, `there is no ${type} '${path}'; it may have been removed to make room`);
  if (channel === 'a' || channel === 'rgb') return encoded(await ofChannel(file.bytes, channel), 'png');
  const [, format, quality] = /^(webp|jpeg)(?:;(\d{1,3}))?$/.exec(preview ?? '') ?? [];
  if (format === 'webp' || format === 'jpeg') {
    const picture = await Image.load(file.bytes);
    return encoded(picture, format, Math.min(100, Math.max(1, Number(quality ?? 90))));
  }
  return new Response(drawn ? withWorkflow(file.bytes, drawn.prompt) : file.bytes, {
    headers: { 'content-type': file.type },
  });
}

async function encoded(picture: Image, format: 'png' | 'webp' | 'jpeg', quality?: number): Promise<Response> {
  const bytes = await picture.encode(format, quality === undefined ? {} : { quality });
  return new Response(bytes, { headers: { 'content-type': `image/${format}` } });
}

/** The colours without alpha, or the alpha of black. */
async function ofChannel(bytes: Uint8Array<ArrayBuffer>, channel: 'rgb' | 'a'): Promise<Image> {
  const { width, height, channels, data } = await Image.load(bytes);
  const count = channel === 'a' ? 4 : 3;
  const out = new Uint8Array(count * width * height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    if (channel === 'a') out[4 * pixel + 3] = channels === 4 ? data[4 * pixel + 3]! : 255;
    else out.set(data.subarray(pixel * channels, pixel * channels + 3), 3 * pixel);
  }
  return new Image({ width, height, channels: count, data: out });
}
