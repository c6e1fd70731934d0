/** Reads the header of a GGUF file value by value. Every length is held against the bytes that there are before it is used. */
import { DejaDitError } from '../../errors/errors.ts';

/** There are fewer bytes than the header has. */
export class GgufTooShort extends Error {}

const maxTextBytes = 1 << 24;
const maxDepth = 8;
/** Longer arrays are passed over: nothing here needs a vocabulary. */
const maxKept = 16;

/** Bytes of the types of metadata, by their numbers; texts are 8, arrays 9. */
const valueBytes: readonly number[] = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];

export class GgufCursor {
  position = 0;
  private readonly view: DataView;

  constructor(
    private readonly data: Uint8Array,
    private readonly path: string,
  ) {
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }

  bad(message: string): DejaDitError {
    return new DejaDitError('INVALID_FILE', message, { path: this.path });
  }

  uint32(): number {
    return this.view.getUint32(this.take(4), true);
  }

  /** An unsigned 64-bit number that JavaScript can count to. */
  size(): number {
    const value = this.view.getBigUint64(this.take(8), true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.bad(`claims a size of ${value}`);
    return Number(value);
  }

  /** How many there are of what takes so many bytes each at least. */
  count(what: string, { bytesEach, fileBytes }: { bytesEach: number; fileBytes: number }): number {
    const count = this.size();
    if (count * bytesEach > fileBytes) throw this.bad(`claims ${count} ${what} but has ${fileBytes} bytes`);
    return count;
  }

  text(): string {
    const length = this.size();
    if (length > maxTextBytes) throw this.bad(`claims a text of ${length} bytes`);
    const start = this.take(length);
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(this.data.subarray(start, start + length));
    } catch {
      throw this.bad('has a name that is not UTF-8');
    }
  }

  /** A value of metadata: a number, a text, or a short list of these; anything else is passed over. */
  value(type: number, depth = 0): unknown {
    switch (type) {
      case 0:
        return this.view.getUint8(this.take(1));
      case 1:
        return this.view.getInt8(this.take(1));
      case 2:
        return this.view.getUint16(this.take(2), true);
      case 3:
        return this.view.getInt16(this.take(2), true);
      case 4:
        return this.uint32();
      case 5:
        return this.view.getInt32(this.take(4), true);
      case 6:
        return this.view.getFloat32(this.take(4), true);
      case 7:
        return this.view.getUint8(this.take(1)) !== 0;
      case 8:
        return this.text();
      case 9:
        return this.list(depth);
      case 10:
        return Number(this.view.getBigUint64(this.take(8), true));
      case 11:
        return Number(this.view.getBigInt64(this.take(8), true));
      case 12:
        return this.view.getFloat64(this.take(8), true);
      default:
        throw this.bad(`has metadata of the unknown type ${type}`);
    }
  }

  private list(depth: number): unknown[] | undefined {
    if (depth >= maxDepth) throw this.bad('has lists in lists that no file needs');
    const type = this.uint32();
    const length = this.size();
    const bytesEach = valueBytes[type];
    if (bytesEach === undefined) throw this.bad(`has metadata of the unknown type ${type}`);
    if (bytesEach > 0 && length > maxKept) {
      this.take(length * bytesEach);
      return undefined;
    }
    // Texts and lists have a length of eight bytes each.
    if (bytesEach === 0 && length * 8 > this.data.length - this.position) throw new GgufTooShort();
    const kept: unknown[] = [];
    for (let i = 0; i < length; i++) {
      const value = this.value(type, depth + 1);
      if (i < maxKept) kept.push(value);
    }
    return length <= maxKept ? kept : undefined;
  }

  /** Steps over bytes. @returns where they begin */
  private take(bytes: number): number {
    const start = this.position;
    if (bytes > this.data.length - start) throw new GgufTooShort();
    this.position = start + bytes;
    return start;
  }
}
