/** The clients that listen at `/ws`, by the names that they give themselves. */
import { randomUUID } from 'node:crypto';
import { upgradeWebSocket } from '@hono/node-server';
import type { Handler } from 'hono';
import type { WSContext } from 'hono/ws';
import type { Variables } from '../core.ts';
import { Problem } from '../http/problem.ts';

/** One client's library takes ten seconds of silence for a lost connection. */
const heartbeat = 4000;

/** What this server can do beyond the first version of the protocol. */
export const features = { supports_preview_metadata: false, max_upload_size: 2 ** 26 };

export class Sockets {
  private readonly clients = new Map<string, WSContext>();

  /** @param remaining prompts that wait or run */
  constructor(private readonly remaining: () => number) {}

  readonly handler: Handler<{ Variables: Variables }> = (context, next) => {
    if (context.req.header('upgrade')?.toLowerCase() !== 'websocket' || !Object.hasOwn(context.env ?? {}, 'incoming'))
      throw new Problem(400, 'is a WebSocket; a server that only answers requests has none');
    return upgradeWebSocket(() => this.events(context.req.query('clientId') || randomUUID()))(context, next);
  };

  /** To one client, if it listens. */
  send(client: string | undefined, type: string, data: object): void {
    const socket = client === undefined ? undefined : this.clients.get(client);
    if (socket) post(socket, JSON.stringify({ type, data }));
  }

  /** A picture of type 1: what all clients take. */
  sendPreview(client: string | undefined, jpeg: Uint8Array): void {
    const socket = client === undefined ? undefined : this.clients.get(client);
    if (!socket) return;
    const frame = Buffer.alloc(8 + jpeg.byteLength);
    frame.writeUInt32BE(1, 0);
    frame.writeUInt32BE(1, 4);
    frame.set(jpeg, 8);
    post(socket, frame);
  }

  /** To all: how many prompts there are. */
  sendStatus(): void {
    for (const socket of this.clients.values()) post(socket, this.status());
  }

  private events(id: string) {
    let timer: NodeJS.Timeout | undefined;
    return {
      onOpen: (_: Event, socket: WSContext) => {
        this.clients.set(id, socket);
        post(socket, this.status(id));
        timer = setInterval(() => post(socket, this.status()), heartbeat).unref();
      },
      onMessage: ({ data }: MessageEvent, socket: WSContext) => {
        if (typeof data === 'string' && data.includes('"feature_flags"'))
          post(socket, JSON.stringify({ type: 'feature_flags', data: features }));
      },
      onClose: (_: unknown, socket: WSContext) => {
        clearInterval(timer);
        if (this.clients.get(id)?.raw === socket.raw) this.clients.delete(id);
      },
    };
  }

  private status(sid?: string): string {
    const status = { exec_info: { queue_remaining: this.remaining() } };
    return JSON.stringify({ type: 'status', data: { status, ...(sid === undefined ? {} : { sid }) } });
  }
}

function post(socket: WSContext, data: string | Buffer<ArrayBuffer>): void {
  if (socket.readyState === 1) socket.send(data);
}
