/**
 * GGML's blocks of quantised numbers, as GGUF files hold them: how many numbers and bytes a block has, and how its bits become codes. Every
 * type here is `scale · code + offset` for groups of 16 or 32 numbers, so that what reads them need not tell them apart.
 *
 * Layouts are those of ggml-common.h; names with K are llama.cpp's super-blocks of 256 numbers, whose groups' scales are codes themselves.
 */
import { toFloat32 } from '../../tensor/convert.ts';

/** Numbers as codes in groups. */
export interface Codes {
  readonly codes: Int8Array;
  /** By group. */
  readonly scales: Float32Array;
  readonly offsets: Float32Array;
}

export interface BlockType {
  readonly name: string;
  /** Numbers and bytes of a block. */
  readonly numbers: number;
  readonly bytes: number;
  /** Numbers that share a scale. */
  readonly group: 16 | 32;
  /** `nibbles`: codes 0…15 with offsets; `bytes`: codes with offsets; `signed`: codes around zero, all offsets 0. */
  readonly codes: 'nibbles' | 'bytes' | 'signed';
  /** Unpacks the block that begins at byte `at`; its numbers begin at `to`. */
  unpack(data: Uint8Array, at: number, to: number, into: Codes): void;
}

let halves: Float32Array | undefined;

/** The float16 at a place. */
function half(data: Uint8Array, at: number): number {
  halves ??= toFloat32(
    'float16',
    Uint16Array.from({ length: 65536 }, (_, bits) => bits),
  );
  return halves[data[at]! | (data[at + 1]! << 8)]!;
}

const signed = (byte: number) => (byte << 24) >> 24;

/** Two numbers a byte: low halves first, then high ones. */
function nibbles(data: Uint8Array, at: number, { count, to, codes }: { count: number; to: number; codes: Int8Array }) {
  for (let i = 0; i < count; i++) {
    codes[to + i] = data[at + i]! & 15;
    codes[to + count + i] = data[at + i]! >> 4;
  }
}

/** A fifth bit for each of 32 numbers. */
function addFifthBits(data: Uint8Array, at: number, to: number, codes: Int8Array) {
  for (let i = 0; i < 32; i++) codes[to + i]! |= ((data[at + (i >> 3)]! >> (i & 7)) & 1) << 4;
}

/** Scale and minimum of group `i` among the eight of Q4_K and Q5_K, of six bits each. */
function scaleAndMinimum(data: Uint8Array, at: number, i: number): [scale: number, minimum: number] {
  if (i < 4) return [data[at + i]! & 63, data[at + i + 4]! & 63];
  return [
    (data[at + i + 4]! & 15) | ((data[at + i - 4]! >> 6) << 4),
    (data[at + i + 4]! >> 4) | ((data[at + i]! >> 6) << 4),
  ];
}

/** What the codes of IQ4 stand for. */
const iq4Values = Int8Array.of(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);

function iq4(data: Uint8Array, at: number, to: number, codes: Int8Array) {
  nibbles(data, at, { count: 16, to, codes });
  for (let i = to; i < to + 32; i++) codes[i] = iq4Values[codes[i]!]!;
}

const types: readonly BlockType[] = [
  {
    name: 'Q4_0',
    numbers: 32,
    bytes: 18,
    group: 32,
    codes: 'nibbles',
    unpack(data, at, to, { codes, scales, offsets }) {
      nibbles(data, at + 2, { count: 16, to, codes });
      scales[to / 32] = half(data, at);
      offsets[to / 32] = -8 * half(data, at);
    },
  },
  {
    name: 'Q4_1',
    numbers: 32,
    bytes: 20,
    group: 32,
    codes: 'nibbles',
    unpack(data, at, to, { codes, scales, offsets }) {
      nibbles(data, at + 4, { count: 16, to, codes });
      scales[to / 32] = half(data, at);
      offsets[to / 32] = half(data, at + 2);
    },
  },
  {
    name: 'Q5_0',
    numbers: 32,
    bytes: 22,
    group: 32,
    codes: 'signed',
    unpack(data, at, to, { codes, scales }) {
      nibbles(data, at + 6, { count: 16, to, codes });
      addFifthBits(data, at + 2, to, codes);
      for (let i = to; i < to + 32; i++) codes[i]! -= 16;
      scales[to / 32] = half(data, at);
    },
  },
  {
    name: 'Q5_1',
    numbers: 32,
    bytes: 24,
    group: 32,
    codes: 'bytes',
    unpack(data, at, to, { codes, scales, offsets }) {
      nibbles(data, at + 8, { count: 16, to, codes });
      addFifthBits(data, at + 4, to, codes);
      scales[to / 32] = half(data, at);
      offsets[to / 32] = half(data, at + 2);
    },
  },
  {
    name: 'Q8_0',
    numbers: 32,
    bytes: 34,
    group: 32,
    codes: 'signed',
    unpack(data, at, to, { codes, scales }) {
      for (let i = 0; i < 32; i++) codes[to + i] = data[at + 2 + i]!;
      scales[to / 32] = half(data, at);
    },
  },
  {
    name: 'Q2_K',
    numbers: 256,
    bytes: 84,
    group: 16,
    codes: 'nibbles',
    unpack(data, at, to, { codes, scales, offsets }) {
      const [scale, minimum] = [half(data, at + 80), half(data, at + 82)];
      for (let i = 0; i < 16; i++) {
        scales[to / 16 + i] = scale * (data[at + i]! & 15);
        offsets[to / 16 + i] = -minimum * (data[at + i]! >> 4);
      }
      // Each byte has one number of every 32.
      for (let i = 0; i < 256; i++) {
        const byte = data[at + 16 + (i >> 7) * 32 + (i & 31)]!;
        codes[to + i] = (byte >> (((i >> 5) & 3) * 2)) & 3;
      }
    },
  },
  {
    name: 'Q3_K',
    numbers: 256,
    bytes: 110,
    group: 16,
    codes: 'nibbles',
    unpack(data, at, to, { codes, scales, offsets }) {
      const scale = half(data, at + 108);
      for (let i = 0; i < 16; i++) {
        const low = (data[at + 96 + (i & 7)]! >> (i < 8 ? 0 : 4)) & 15;
        const high = (data[at + 104 + (i & 3)]! >> ((i >> 2) * 2)) & 3;
        scales[to / 16 + i] = scale * ((low | (high << 4)) - 32);
        offsets[to / 16 + i] = -4 * scales[to / 16 + i]!;
      }
      for (let i = 0; i < 256; i++) {
        const byte = data[at + 32 + (i >> 7) * 32 + (i & 31)]!;
        const high = (data[at + (i & 31)]! >> (i >> 5)) & 1;
        codes[to + i] = ((byte >> (((i >> 5) & 3) * 2)) & 3) | (high << 2);
      }
    },
  },
  {
    name: 'Q4_K',
    numbers: 256,
    bytes: 144,
    group: 32,
    codes: 'nibbles',
    unpack(data, at, to, { codes, scales, offsets }) {
      unpackScales(data, at, to, { scales, offsets });
      for (let i = 0; i < 4; i++) nibbles(data, at + 16 + 32 * i, { count: 32, to: to + 64 * i, codes });
    },
  },
  {
    name: 'Q5_K',
    numbers: 256,
    bytes: 176,
    group: 32,
    codes: 'bytes',
    unpack(data, at, to, { codes, scales, offsets }) {
      unpackScales(data, at, to, { scales, offsets });
      for (let i = 0; i < 4; i++) nibbles(data, at + 48 + 32 * i, { count: 32, to: to + 64 * i, codes });
      for (let i = 0; i < 256; i++) codes[to + i]! |= ((data[at + 16 + (i & 31)]! >> (i >> 5)) & 1) << 4;
    },
  },
  {
    name: 'Q6_K',
    numbers: 256,
    bytes: 210,
    group: 16,
    codes: 'signed',
    unpack(data, at, to, { codes, scales }) {
      const scale = half(data, at + 208);
      for (let i = 0; i < 16; i++) scales[to / 16 + i] = scale * signed(data[at + 192 + i]!);
      for (let i = 0; i < 256; i++) {
        const [side, quarter, place] = [i >> 7, (i >> 5) & 3, i & 31];
        const low = (data[at + 64 * side + 32 * (quarter & 1) + place]! >> (quarter < 2 ? 0 : 4)) & 15;
        const high = (data[at + 128 + 32 * side + place]! >> (2 * quarter)) & 3;
        codes[to + i] = (low | (high << 4)) - 32;
      }
    },
  },
  {
    name: 'IQ4_NL',
    numbers: 32,
    bytes: 18,
    group: 32,
    codes: 'signed',
    unpack(data, at, to, { codes, scales }) {
      iq4(data, at + 2, to, codes);
      scales[to / 32] = half(data, at);
    },
  },
  {
    name: 'IQ4_XS',
    numbers: 256,
    bytes: 136,
    group: 32,
    codes: 'signed',
    unpack(data, at, to, { codes, scales }) {
      const highs = data[at + 2]! | (data[at + 3]! << 8);
      for (let i = 0; i < 8; i++) {
        const low = (data[at + 4 + (i >> 1)]! >> (4 * (i & 1))) & 15;
        scales[to / 32 + i] = half(data, at) * ((low | (((highs >> (2 * i)) & 3) << 4)) - 32);
        iq4(data, at + 8 + 16 * i, to + 32 * i, codes);
      }
    },
  },
];

/** The eight groups of Q4_K and Q5_K. */
function unpackScales(data: Uint8Array, at: number, to: number, { scales, offsets }: Omit<Codes, 'codes'>): void {
  const [scale, minimum] = [half(data, at), half(data, at + 2)];
  for (let i = 0; i < 8; i++) {
    const [own, least] = scaleAndMinimum(data, at + 4, i);
    scales[to / 32 + i] = scale * own;
    offsets[to / 32 + i] = -minimum * least;
  }
}

export const blockTypes: ReadonlyMap<string, BlockType> = new Map(types.map((type) => [type.name, type]));

/** The codes of whole blocks. */
export function unpackBlocks(type: BlockType, data: Uint8Array): Codes {
  const count = data.length / type.bytes;
  const numbers = count * type.numbers;
  const groups = numbers / type.group;
  const result = {
    codes: new Int8Array(numbers),
    scales: new Float32Array(groups),
    offsets: new Float32Array(groups),
  };
  for (let block = 0; block < count; block++) type.unpack(data, block * type.bytes, block * type.numbers, result);
  return result;
}

/** The numbers that whole blocks stand for. */
export function decodeBlocks(type: BlockType, data: Uint8Array): Float32Array {
  const { codes, scales, offsets } = unpackBlocks(type, data);
  const { group } = type;
  const values = new Float32Array(codes.length);
  for (let g = 0, i = 0; g < scales.length; g++) {
    const [scale, offset] = [scales[g]!, offsets[g]!];
    for (const end = i + group; i < end; i++) values[i] = scale * codes[i]! + offset;
  }
  return values;
}
