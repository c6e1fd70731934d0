/** What the routes of this protocol have in common. */
import type { Handler } from 'hono';
import type { Core, Routes, Variables } from '../../core.ts';
import { type Endpoint, endpoint } from '../../http/endpoint.ts';
import type { Events } from '../events.ts';
import type { Prompts } from '../prompts.ts';
import type { Sockets } from '../sockets.ts';
import type { Uploads } from '../uploads.ts';

export const tag = 'comfyui';

/** What routes are made of. */
export interface Parts {
  core: Core;
  prompts: Prompts;
  uploads: Uploads;
  sockets: Sockets;
  events: Events;
}

export type AddRoute = (described: Omit<Endpoint, 'tag'>, handler: Handler<{ Variables: Variables }>) => void;

/** Adds every route below `/api` too. */
export function routesOf(app: Routes): AddRoute {
  return (described, handler) => {
    endpoint(app, { ...described, tag }, handler);
    const path = `/api${described.path.replace(/\{(\w+)\}/g, ':$1')}`;
    app.on(described.method.toUpperCase(), path, handler);
  };
}
