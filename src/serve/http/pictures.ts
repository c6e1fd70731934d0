/** Pictures as clients send them: bytes of a form, base64, a `data:` URL, or the URL of one elsewhere where that is allowed. */
import { isReadable } from '../../images/files.ts';
import { fetchPublic, type PublicFetch } from './fetch-public.ts';
import { Problem } from './problem.ts';

export interface PictureRules {
  /** Whether pictures are fetched from URLs: from any public host, or from these hosts only. */
  urls: boolean | readonly string[];
  /** Largest file. */
  maxBytes: number;
}

type Bytes = Uint8Array<ArrayBuffer>;

export class Pictures {
  /** @param fetch how URLs are fetched, which tests replace */
  constructor(
    private readonly rules: PictureRules,
    private readonly fetch: PublicFetch = fetchPublic,
  ) {}

  /**
   * The bytes of a picture that is given as text.
   * @param param the field, for errors
   * @throws Problem 400 if it is none, 403 if it is a URL and those are not fetched, 413 if it is too large
   */
  async fromText(text: string, param: string): Promise<Bytes> {
    if (/^https?:/i.test(text)) return this.fromUrl(text, param);
    const data = /^data:[^,]*?(;base64)?,/i.exec(text.slice(0, 200));
    if (data && data[1] === undefined) throw new Problem(400, 'a data: URL must be in base64', { param });
    const base64 = text.slice(data?.[0].length ?? 0);
    if (base64.length * 0.75 > this.rules.maxBytes) throw this.tooLarge(param);
    if (!/^[A-Za-z0-9+/_-]+={0,2}\s*$/.test(base64.replace(/[\r\n]/g, '')))
      throw new Problem(400, 'is neither base64 nor a data: URL of a picture', { param });
    return this.check(new Uint8Array(Buffer.from(base64, 'base64')), param);
  }

  /** The same of a part of a form, which may be a file or a text. */
  async fromPart(part: Blob | string, param: string): Promise<Bytes> {
    if (typeof part === 'string') return this.fromText(part, param);
    if (part.size > this.rules.maxBytes) throw this.tooLarge(param);
    return this.check(new Uint8Array(await part.arrayBuffer()), param);
  }

  private async fromUrl(text: string, param: string): Promise<Bytes> {
    const { urls, maxBytes } = this.rules;
    if (urls === false)
      throw new Problem(403, 'this server fetches no pictures from URLs (--image-urls); send the picture itself', {
        param,
      });
    if (!URL.canParse(text)) throw new Problem(400, 'is no URL', { param });
    const url = new URL(text);
    const isAllowed = ({ hostname }: URL) => urls === true || urls.includes(hostname);
    try {
      return this.check(await this.fetch(url, { maxBytes, isAllowed }), param);
    } catch (error) {
      if (error instanceof Problem) throw error;
      throw new Problem(400, `cannot be fetched: ${(error as Error).message}`, { param, cause: error });
    }
  }

  private check(bytes: Bytes, param: string): Bytes {
    if (isReadable(bytes)) return bytes;
    throw new Problem(400, 'is not a PNG, JPEG, WebP, AVIF or GIF picture', { param });
  }

  private tooLarge(param: string): Problem {
    return new Problem(413, `is larger than ${this.rules.maxBytes} bytes`, { param });
  }
}
