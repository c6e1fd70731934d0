/**
 * The studio: a page at `/` to draw with, look at what the cache did, and compare. What it shows it asks of the native protocol; its
 * sources are in `studio/` at the root, and what `npm run build` makes of them is served here.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Skin } from '../core.ts';
import { Problem } from '../http/problem.ts';

/** Of the sources and of what is built alike. */
const folder = fileURLToPath(new URL('../../../dist/studio/', import.meta.url));

/** The page runs its own files, and talks to its own server. Pictures are blobs: they are fetched with the key. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  "media-src 'self' blob:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const types: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
};

interface Asset {
  bytes: Uint8Array<ArrayBuffer>;
  type: string;
  etag: string;
}

export const studioSkin: Skin = {
  name: 'studio',
  paths: ['/studio'],
  open: ['/', '/studio'],
  error: ({ message, code }) => ({ error: { message, code } }),
  routes(app) {
    let assets: Promise<ReadonlyMap<string, Asset>> | undefined;
    const asset = async (name: string): Promise<Asset | undefined> => {
      assets ??= readAssets();
      return (await assets).get(name);
    };
    app.get('/', async (context) => {
      const page = await asset('index.html');
      if (!page) throw new Problem(503, 'the studio is not built; npm run build makes it');
      return answer(page, context.req.header('if-none-match'), {
        'cache-control': 'no-cache',
        'content-security-policy': policy,
        'referrer-policy': 'no-referrer',
        'cross-origin-opener-policy': 'same-origin',
      });
    });
    app.get('/studio/:name', async (context) => {
      const name = context.req.param('name');
      const found = await asset(`studio/${name}`);
      if (!found) throw new Problem(404, `the studio has no file ${name}; reload the page`);
      // Names carry a hash of the content.
      return answer(found, context.req.header('if-none-match'), {
        'cache-control': 'public, max-age=31536000, immutable',
      });
    });
  },
};

function answer({ bytes, type, etag }: Asset, known: string | undefined, headers: Record<string, string>): Response {
  const all = { ...headers, etag };
  if (known === etag) return new Response(null, { status: 304, headers: all });
  return new Response(bytes, { headers: { ...all, 'content-type': type } });
}

/** All files by their paths; none where nothing is built. */
async function readAssets(): Promise<ReadonlyMap<string, Asset>> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const files = names.map((name) => name.replaceAll('\\', '/')).filter((name) => /\.\w+$/.test(name));
  return new Map(
    await Promise.all(
      files.map(async (name) => {
        const bytes = new Uint8Array(await readFile(`${folder}${name}`));
        const type = types[name.split('.').at(-1)!] ?? 'application/octet-stream';
        const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;
        return [name, { bytes, type, etag }] as const;
      }),
    ),
  );
}
