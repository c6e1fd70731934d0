/** A server on a port of Node, until a signal ends it in order. */
import type { AddressInfo } from 'node:net';
import { isIP } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { WebSocketServer } from 'ws';
import { DejaDitError } from '../errors/errors.ts';
import type { Server } from './server.ts';

export interface ListenOptions {
  /** Default 8000; 0 for any that is free. */
  port?: number | undefined;
  /** Default 127.0.0.1: this machine only. */
  host?: string | undefined;
}

export interface Listening {
  /** `http://127.0.0.1:8000` */
  address: string;
  /** Ends it: no new connections; those that are there are closed once answered, sockets at once. The server itself goes on. */
  close(): Promise<void>;
}

/** @throws DejaDitError `RUNTIME` if the port is taken or may not be used */
export async function listen(server: Pick<Server, 'fetch'>, options: ListenOptions = {}): Promise<Listening> {
  const { port = 8000, host = '127.0.0.1' } = options;
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 2 ** 20 });
  const node = createAdaptorServer({ fetch: server.fetch, websocket: { server: sockets } });
  await new Promise<void>((resolve, reject) => {
    node.once('error', reject);
    node.listen(port, host, () => resolve());
  }).catch((cause: NodeJS.ErrnoException) => {
    const why = cause.code === 'EADDRINUSE' ? 'is in use; choose another one' : `cannot be listened on: ${cause.code}`;
    throw new DejaDitError('RUNTIME', why, { path: `port ${port} of ${host}`, cause });
  });
  const { address: ip, port: actual } = node.address() as AddressInfo;
  return {
    address: `http://${isIP(ip) === 6 ? `[${ip}]` : ip}:${actual}`,
    close: () =>
      new Promise((resolve) => {
        node.close(() => resolve());
        for (const socket of sockets.clients) socket.terminate();
        if ('closeIdleConnections' in node) node.closeIdleConnections();
      }),
  };
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\./.test(host);
}
