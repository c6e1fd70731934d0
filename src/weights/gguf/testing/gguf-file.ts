/** Test support: writes GGUF files, right ones and others. */

export interface GgufTensor {
  name: string;
  /** Innermost axis first, as the format has it. */
  sizes: readonly number[];
  /** GGML's number. */
  type: number;
  offset?: bigint;
  data?: Uint8Array;
}

export interface GgufParts {
  magic?: string;
  version?: number;
  tensorCount?: bigint;
  entryCount?: bigint;
  /** Key, number of the type, bytes of the value. */
  metadata?: readonly (readonly [key: string, type: number, value: Uint8Array])[];
  tensors?: readonly GgufTensor[];
}

export const uint32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer);
export const uint64 = (value: bigint | number) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
export const ggufText = (text: string) => Buffer.concat([uint64(Buffer.byteLength(text)), Buffer.from(text)]);

const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((32 - (bytes.length % 32)) % 32)]);

export function ggufFile({ magic = 'GGUF', version = 3, metadata = [], tensors = [], ...counts }: GgufParts): Buffer {
  let end = 0n;
  const places = tensors.map(({ data = new Uint8Array(0), offset }) => {
    const at = end;
    end += BigInt(Math.ceil(data.length / 32) * 32);
    return offset ?? at;
  });
  const header = [
    Buffer.from(magic),
    uint32(version),
    uint64(counts.tensorCount ?? tensors.length),
    uint64(counts.entryCount ?? metadata.length),
    ...metadata.flatMap(([key, type, value]) => [ggufText(key), uint32(type), value]),
    ...tensors.flatMap(({ name, sizes, type }, i) => [
      ggufText(name),
      uint32(sizes.length),
      ...sizes.map(uint64),
      uint32(type),
      uint64(places[i]!),
    ]),
  ];
  const data = tensors.map(({ data: bytes = new Uint8Array(0) }) => padded(Buffer.from(bytes)));
  return Buffer.concat([padded(Buffer.concat(header)), ...data]);
}
