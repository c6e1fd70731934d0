/**
 * A small Hugging Face hub on this machine, for tests: repositories in memory behind the endpoints and headers of the
 * real one, ranges included, with faults on demand. It answers `huggingface_hub` of Python too.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HubFile {
  bytes: Buffer;
  /** Large files are named by SHA-256, the others as Git does. */
  lfs: boolean;
}

/** What goes wrong with one request. */
export interface Fault {
  status?: number;
  /** Another server to send the client to, as the real hub does for large files. */
  redirect?: string;
  /** Bytes after which nothing more comes, until `cut` breaks the connection or the client gives up. */
  hangAfter?: number;
  ignoreRange?: boolean;
  /** Sends one byte after another, with so many milliseconds between them. */
  drip?: number;
  /** The `Link` header of an answer. */
  link?: string;
  /** Sent instead of the file, or of the answer. */
  bytes?: Buffer;
}

export class HubServer {
  /** Requests for file contents, in order. */
  readonly requests: { path: string; range: string | undefined; authorization: string | undefined }[] = [];
  commit = 'c0ffee'.padEnd(40, '0');
  readonly url: string;
  /** Entries of the listing that replace the true ones. */
  listed: Record<string, object> = {};
  /** Asked before every request: `path` is that of a file, or `api`; `range` as the client asked. */
  fault: (path: string, range?: string) => Fault | undefined = () => undefined;
  #server: Server;

  private constructor(
    server: Server,
    readonly repository: string,
    readonly files: Record<string, HubFile>,
  ) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (request, response) => this.#answer(request, response));
  }

  static async start(repository: string, contents: Record<string, string | Buffer>): Promise<HubServer> {
    const files = Object.entries(contents).map(([path, value]): [string, HubFile] => [
      path,
      { bytes: Buffer.from(value), lfs: path.endsWith('.safetensors') },
    ]);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new HubServer(server, repository, Object.fromEntries(files));
  }

  /** Breaks all connections. */
  cut(): void {
    this.#server.closeAllConnections();
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(request.url ?? '', this.url);
    // Pages of other origins may ask, with a token too.
    response.setHeader('Access-Control-Allow-Origin', '*');
    response.setHeader('Access-Control-Expose-Headers', 'Link');
    if (request.method === 'OPTIONS') {
      response.writeHead(204, { 'Access-Control-Allow-Headers': 'Authorization, Range, User-Agent' }).end();
      return;
    }
    const json = (value: unknown) =>
      response
        .setHeader('Content-Type', 'application/json')
        .setHeader('X-Repo-Commit', this.commit)
        .end(JSON.stringify(value));
    const api = `/api/models/${this.repository}`;
    const apiFault = pathname.startsWith('/api/') ? this.fault('api') : undefined;
    if (apiFault?.status) {
      fail(response, apiFault.status);
      return;
    }
    if (apiFault?.link) response.setHeader('Link', apiFault.link);
    if (apiFault?.bytes) {
      response.end(apiFault.bytes);
      return;
    }
    const revisions = ['main', 'v1.0', 'refs/pr/2', this.commit];
    const revision = revisions.find((name) => pathname === `${api}/revision/${encodeURIComponent(name)}`);
    const resolve = `/${this.repository}/resolve/${this.commit}/`;
    const path = decodeURIComponent(pathname.slice(resolve.length));
    const file = pathname.startsWith(resolve) ? this.files[path] : undefined;
    if (revision !== undefined) {
      const siblings = Object.keys(this.files).map((rfilename) => ({ rfilename }));
      json({ _id: '1', id: this.repository, sha: this.commit, private: false, tags: [], downloads: 0, siblings });
    } else if (pathname === `${api}/tree/${this.commit}`) {
      json(this.#listing());
    } else if (file) {
      this.#sendFile(path, file, { request, response });
    } else {
      fail(response, 404);
    }
  }

  #listing(): object[] {
    const files = Object.entries(this.files).map(([path, { bytes, lfs }]) => ({
      type: 'file',
      path,
      size: bytes.length,
      oid: gitHash(bytes),
      ...(lfs ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 } } : {}),
      ...this.listed[path],
    }));
    return [{ type: 'directory', path: 'transformer', oid: gitHash(Buffer.of()), size: 0 }, ...files];
  }

  #sendFile(
    path: string,
    file: HubFile,
    { request, response }: { request: IncomingMessage; response: ServerResponse },
  ) {
    const { range, authorization } = request.headers;
    const fault = this.fault(path, range) ?? {};
    if (request.method === 'GET') this.requests.push({ path, range, authorization });
    const bytes = fault.bytes ?? file.bytes;
    const asked = fault.ignoreRange ? undefined : /^bytes=(\d+)-(\d*)$/.exec(range ?? '');
    const from = Number(asked?.[1] ?? 0);
    const end = asked?.[2] ? Number(asked[2]) + 1 : bytes.length;
    const status = fault.status ?? (asked && from >= bytes.length ? 416 : undefined);
    if (status) {
      fail(response, status);
      return;
    }
    if (fault.redirect) {
      response.writeHead(302, { Location: `${fault.redirect}${request.url}` }).end();
      return;
    }
    const body = bytes.subarray(from, end);
    response.writeHead(asked ? 206 : 200, {
      'Content-Length': body.length,
      ETag: `"${file.lfs ? sha256(file.bytes) : gitHash(file.bytes)}"`,
      'X-Repo-Commit': this.commit,
      ...(asked ? { 'Content-Range': `bytes ${from}-${end - 1}/${bytes.length}` } : {}),
    });
    if (request.method === 'HEAD') response.end();
    else if (fault.drip) drip(response, body, fault.drip);
    else if (fault.hangAfter) response.write(body.subarray(0, fault.hangAfter));
    else response.end(body);
  }
}

function drip(response: ServerResponse, body: Buffer, pause: number): void {
  let sent = 0;
  const timer = setInterval(() => response.write(body.subarray(sent, ++sent)), pause);
  response.once('close', () => clearInterval(timer));
}

function fail(response: ServerResponse, status: number): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify({ error: 'as asked for' }));
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function gitHash(bytes: Buffer): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}
