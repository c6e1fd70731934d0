/** Previews of a request: after which steps, and as what files. */
import type { Image } from '../../images/image.ts';
import type { JobFile, PreviewOptions } from '../jobs/job.ts';

/** The steps, counted from 1, after which there is a preview. The last is none of them: it is followed by the result. */
export function previewSteps({ count, every }: PreviewOptions = {}, steps: number): ReadonlySet<number> {
  const all = Array.from({ length: Math.max(0, steps - 1) }, (_, i) => i + 1);
  if (every !== undefined) return new Set(all.filter((step) => step % every === 0));
  if (!count) return new Set();
  return new Set(Array.from({ length: count }, (_, i) => all[Math.floor(((i + 1) * all.length) / (count + 1))]!));
}

export async function smallPicture(picture: Image, { format = 'jpeg', maxSize }: PreviewOptions): Promise<JobFile> {
  const scale = Math.min(1, (maxSize ?? Number.POSITIVE_INFINITY) / Math.max(picture.width, picture.height));
  const [width, height] = [picture.width, picture.height].map((size) => Math.max(1, Math.round(size * scale)));
  const small = scale < 1 ? await picture.resize(width!, height!) : picture;
  return { type: `image/${format}`, bytes: await small.encode(format), width: small.width, height: small.height };
}
