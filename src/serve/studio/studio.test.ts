/** How the page is served; what it does is in tests/browser/studio.test.ts. */
import { expect, it } from 'vitest';
import { createServer } from '../server.ts';

it('is there for everybody, and asks nothing of anywhere else; its files may be kept, the page is asked for anew', async () => {
  await using server = createServer({ apiKey: 'secret' });
  server.ready.catch(() => undefined);
  const get = (path: string, headers: Record<string, string> = {}) =>
    server.fetch(new Request(`http://localhost${path}`, { headers }));

  const page = await get('/');
  expect(page.status).toBe(200);
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
  expect(page.headers.get('cache-control')).toBe('no-cache');
  expect(page.headers.get('x-content-type-options')).toBe('nosniff');
  const policy = page.headers.get('content-security-policy')!;
  expect(policy).toContain("default-src 'none'");
  expect(policy).not.toMatch(/unsafe|https?:|\*/);
  const html = await page.text();
  expect((await get('/', { 'if-none-match': page.headers.get('etag')! })).status).toBe(304);

  const files = [...html.matchAll(/(?:src|href)="\.\/(studio\/[^"]+)"/g)].map(([, path]) => path!);
  expect(files.map((path) => path.split('.').at(-1)).sort()).toEqual(['css', 'js']);
  for (const path of files) {
    const file = await get(`/${path}`);
    expect(file.status).toBe(200);
    expect(file.headers.get('cache-control')).toContain('immutable');
    expect(file.headers.get('content-type')).toBe(
      path.endsWith('.js') ? 'text/javascript; charset=utf-8' : 'text/css; charset=utf-8',
    );
  }
  // The page is open, and nothing else is.
  expect((await get('/studio/none.js')).status).toBe(404);
  expect((await get('/studio/..%2Findex.html')).status).toBe(404);
  for (const path of ['/v1/jobs', '/v1/models', '/docs']) expect((await get(path)).status).toBe(401);
});
