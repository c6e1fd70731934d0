/** Links that need no key: whoever was given one may follow it, for as long as the server runs. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

export class Links {
  private readonly secret = randomBytes(32);

  /** The path with its signature. */
  sign(path: string): string {
    return `${path}${path.includes('?') ? '&' : '?'}sig=${this.signature(path).toString('base64url')}`;
  }

  /** Whether the URL's path and query are what was signed. */
  verify(url: URL): boolean {
    const [, path, given] = /^(.*)[?&]sig=([\w-]{43})$/.exec(url.pathname + url.search) ?? [];
    return path !== undefined && timingSafeEqual(this.signature(path), Buffer.from(given!, 'base64url'));
  }

  private signature(path: string): Buffer {
    return createHmac('sha256', this.secret).update(path).digest();
  }
}
