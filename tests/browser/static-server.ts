/** A server of static files, as a web space has: ranges, types, and on request the headers that allow threads. Counts what is asked. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

export interface StaticServer extends AsyncDisposable {
  readonly origin: string;
  /** Paths that were asked for. */
  readonly requests: string[];
}

export interface ServeOptions {
  /** Whether pages may share memory between threads (COOP and COEP). Default false. */
  isolated?: boolean;
}

/** @param folders by the path that they are served under, the longest first */
export async function serveFolders(
  folders: Readonly<Record<string, string>>,
  { isolated = false }: ServeOptions = {},
): Promise<StaticServer> {
  const requests: string[] = [];
  const server = createServer(async (request, response) => {
    const place = decodeURIComponent(new URL(request.url!, 'http://host').pathname);
    requests.push(place);
    if (isolated) {
      response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
      response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    }
    const [under, folder] = Object.entries(folders).find(([under]) => place.startsWith(under)) ?? [];
    const file = folder !== undefined && path.join(folder, place.slice(under!.length) || 'index.html');
    const found = file ? await stat(file).catch(() => undefined) : undefined;
    if (!file || !found?.isFile()) {
      response.writeHead(404).end();
      return;
    }
    response.setHeader('Content-Type', types[path.extname(file)] ?? 'application/octet-stream');
    response.setHeader('Accept-Ranges', 'bytes');
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    if (from === undefined) {
      response.setHeader('Content-Length', found.size);
      createReadStream(file).pipe(response);
      return;
    }
    const [start, end] = [Number(from), Math.min(Number(to), found.size - 1)];
    response.writeHead(206, {
      'Content-Range': `bytes ${start}-${end}/${found.size}`,
      'Content-Length': end - start + 1,
    });
    createReadStream(file, { start, end }).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
