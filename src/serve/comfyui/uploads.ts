/** Pictures that clients sent, in memory, within a limit: the oldest go first. */
import { randomUUID } from 'node:crypto';
import { Image } from '../../images/image.ts';

export interface Upload {
  /** `image/png`, … */
  type: string;
  bytes: Uint8Array<ArrayBuffer>;
  width: number;
  height: number;
}

export class Uploads {
  /** Oldest first; by name, with the folder before it. */
  private readonly kept = new Map<string, Upload>();
  private bytes = 0;

  constructor(private readonly limits: { bytes: number; maxPixels: number }) {}

  get names(): string[] {
    return [...this.kept.keys()];
  }

  get(name: string): Upload | undefined {
    return this.kept.get(name.replace(/ \[input\]$/, ''));
  }

  /**
   * @param name under which it is known; another one is found if it is taken, unless it may be replaced
   * @returns the name it got
   * @throws DejaDitError if it is no picture, or too large a one
   */
  async add(name: string, bytes: Uint8Array<ArrayBuffer>, replace: boolean): Promise<string> {
    const { width, height } = await Image.load(bytes, { maxPixels: this.limits.maxPixels });
    const free = replace || !this.kept.has(name) ? name : `${randomUUID().slice(0, 8)}-${name}`;
    this.bytes += bytes.byteLength - (this.kept.get(free)?.bytes.byteLength ?? 0);
    this.kept.delete(free);
    this.kept.set(free, { type: mediaType(bytes), bytes, width, height });
    for (const [oldest, picture] of this.kept) {
      if (this.bytes <= this.limits.bytes || oldest === free) break;
      this.bytes -= picture.bytes.byteLength;
      this.kept.delete(oldest);
    }
    return free;
  }
}

function mediaType(bytes: Uint8Array): string {
  if (bytes[0] === 0x89) return 'image/png';
  if (bytes[0] === 0xff) return 'image/jpeg';
  return bytes[0] === 0x52 ? 'image/webp' : 'application/octet-stream';
}
