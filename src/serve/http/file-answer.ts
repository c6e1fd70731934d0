/** A job's file as an answer. */
import type { JobFile } from '../jobs/job.ts';

const endings: Readonly<Record<string, string>> = {
  'image/png': 'png',
  'image/jpeg': 'jpg',
  'image/webp': 'webp',
  'video/mp4': 'mp4',
};

export const fileEnding = ({ type }: JobFile): string => endings[type] ?? 'bin';

/** @param name without its ending; files of one job never change, so they may be kept */
export function fileAnswer(file: JobFile, name: string): Response {
  return new Response(file.bytes, {
    headers: {
      'content-type': file.type,
      'content-disposition': `inline; filename="${name}.${fileEnding(file)}"`,
      'cache-control': 'private, max-age=3600',
    },
  });
}
