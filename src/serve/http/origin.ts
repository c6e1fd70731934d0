/**
 * Who may use a server from a web page. Browsers send simple requests to any address without asking, so a page anywhere could have this
 * server draw; and a name that leads to this machine (DNS rebinding) would even let it read the answers.
 */
import { isIP } from 'node:net';

export interface OriginRules {
  /** Origins whose pages may use the server, `https://example.org`; `*` for all. */
  cors: readonly string[];
  /** Whether only this machine can reach the server, so that other names for it are none of its own. */
  loopback: boolean;
}

/** Why a request is refused; undefined if it is not. */
export function refusedOrigin(request: Request, { cors, loopback }: OriginRules): string | undefined {
  const host = request.headers.get('host') ?? new URL(request.url).host;
  const name = host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  if (loopback && name !== 'localhost' && !name.endsWith('.localhost') && isIP(name) === 0)
    return `the host '${name}' is not a name of this server`;
  const origin = request.headers.get('origin');
  if (origin === null || cors.includes('*') || cors.includes(origin)) return undefined;
  if (hostOf(origin) === host) return undefined;
  return `pages of ${origin} may not use this server; --cors ${origin} allows them`;
}

function hostOf(origin: string): string | undefined {
  try {
    return new URL(origin).host;
  } catch {
    return undefined;
  }
}
