/** Files made to break a reader: each known trick by name, then thousands of random damages of a good file. */
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DejaDitError } from '../../errors/errors.ts';
import { damageSafetensors, seeded } from '../../files/testing/fuzz.ts';
import { readSafetensors, readSafetensorsHeader } from './safetensors.ts';

let folder: string;
let path: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hostile-'));
  path = join(folder, 'hostile.safetensors');
});
afterAll(() => rm(folder, { recursive: true }));

/** A file with this header, its length as given or right, and so many bytes of data. */
function fileOf(header: string | Uint8Array, { length, data = 8 }: { length?: bigint; data?: number } = {}): Buffer {
  const json = Buffer.from(header as string);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(json.length));
  return Buffer.concat([prefix, json, Buffer.alloc(data, 1)]);
}

const entry = (fields: object = {}) => ({ dtype: 'F32', shape: [2], data_offsets: [0, 8], ...fields });
const one = (fields: object = {}) => fileOf(JSON.stringify({ w: entry(fields) }));
const two = (a: [number, number], b: [number, number]) =>
  fileOf(
    JSON.stringify({
      a: { dtype: 'U8', shape: [a[1] - a[0]], data_offsets: a },
      b: { dtype: 'U8', shape: [b[1] - b[0]], data_offsets: b },
    }),
  );
const raw = (json: string) => fileOf(json);

const tricks: [string, Buffer, RegExp][] = [
  ['an empty file', Buffer.alloc(0), /is 0 bytes long, too short/],
  ['half a length', Buffer.alloc(5), /is 5 bytes long, too short/],
  ['a header past the end', fileOf('{}', { length: 11n }), /claims a header of 11 bytes but is only 18 bytes long/],
  ['a 10 GB header', fileOf('{}', { length: 10_000_000_000n }), /claims a header of 10000000000 bytes/],
  [
    'a header of 2^64 - 1 bytes',
    fileOf('{}', { length: 2n ** 64n - 1n }),
    /claims a header of 18446744073709551615 bytes/,
  ],
  ['not JSON', raw('{"w": '), /the header is not valid JSON/],
  ['a zip file', Buffer.from('PK\x03\x04rest of an archive'), /is a pickle, whatever its name says/],
  ['not UTF-8', fileOf(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)), /the header is not UTF-8/],
  ['a byte order mark', raw('\ufeff{}'), /the header is not valid JSON/],
  ['deep nesting', raw(`${'['.repeat(200_000)}`), /the header nests deeper than 64 levels/],
  ['an array', raw('[]'), /the header must hold a JSON object/],
  ['null', raw('null'), /the header must hold a JSON object/],
  ['a number as entry', raw('{"w": 3}'), /tensor "w": the header entry is not an object/],
  ['an empty entry', raw('{"w": {}}'), /tensor "w": unknown dtype undefined/],
  ['an unknown dtype', one({ dtype: 'F31' }), /tensor "w": unknown dtype "F31", known are F64, F32/],
  ['a dtype from the prototype', one({ dtype: 'constructor' }), /tensor "w": unknown dtype "constructor"/],
  ['a dtype that is no string', one({ dtype: ['F32'] }), /tensor "w": unknown dtype \["F32"\]/],
  ['a negative dimension', one({ shape: [-2] }), /tensor "w": shape \[-2\] must be a list of non-negative integers/],
  ['two negative dimensions', one({ shape: [-2, -1] }), /tensor "w": shape \[-2,-1\] must be/],
  ['half a dimension', one({ shape: [0.5, 4] }), /tensor "w": shape \[0\.5,4\] must be/],
  ['a dimension as text', one({ shape: ['2'] }), /tensor "w": shape \["2"\] must be/],
  ['no shape', one({ shape: undefined }), /tensor "w": shape undefined must be/],
  [
    'a shape that is too small',
    one({ shape: [1] }),
    /tensor "w": F32 \[1\] needs 4 bytes, data_offsets \[0, 8\] hold 8/,
  ],
  ['a shape that overflows', one({ shape: [2 ** 40, 2 ** 40] }), /tensor "w": F32 .* needs 4\.8\d*e\+24 bytes/],
  [
    'a shape that overflows to nothing',
    one({ shape: [...Array(21).fill(2 ** 52), 0] }),
    /tensor "w": F32 .* needs NaN/,
  ],
  ['the wrong dtype for the bytes', one({ dtype: 'F64' }), /tensor "w": F64 \[2\] needs 16 bytes/],
  [
    'a range past the end',
    one({ shape: [3], data_offsets: [0, 12] }),
    /tensor "w": ends at byte 12 of the data, the file has 8/,
  ],
  ['a range backwards', one({ data_offsets: [8, 0] }), /tensor "w": data_offsets \[8,0\] must be \[begin, end\]/],
  ['a negative offset', one({ data_offsets: [-8, 0] }), /tensor "w": data_offsets \[-8,0\] must be/],
  ['an offset past 2^53', one({ data_offsets: [0, 2 ** 60] }), /tensor "w": data_offsets .* must be/],
  ['three offsets', one({ data_offsets: [0, 4, 8] }), /tensor "w": data_offsets \[0,4,8\] must be/],
  ['no offsets', one({ data_offsets: undefined }), /tensor "w": data_offsets undefined must be/],
  ['overlapping tensors', two([0, 6], [4, 8]), /tensor "b" overlaps tensor "a"/],
  ['the same bytes twice', two([0, 8], [0, 8]), /overlaps tensor/],
  ['an empty tensor inside another', two([0, 8], [4, 4]), /tensor "b" overlaps tensor "a"/],
  ['a gap', two([0, 2], [4, 8]), /tensor "b": 2 bytes before it belong to no tensor/],
  ['a gap at the start', two([1, 4], [4, 8]), /tensor "a": 1 bytes before it/],
  ['trailing bytes', two([0, 2], [2, 4]), /4 bytes at the end belong to no tensor/],
  ['no tensors but data', raw('{}'), /8 bytes at the end belong to no tensor/],
  ['a name twice', raw('{"w": {"dtype":"U8","shape":[8],"data_offsets":[0,8]}, "w": 1}'), /the key "w" twice/],
  ['a name twice, once escaped', raw('{"\\u0077": 1, "w": 1}'), /the key "w" twice/],
  ['a field twice', raw('{"w": {"shape":[2],"dtype":"U8","shape":[8],"data_offsets":[0,8]}}'), /the key "shape" twice/],
  [
    'a prototype as name',
    raw('{"__proto__": {"dtype":"U8","shape":[8],"data_offsets":[0,8]}}'),
    /"__proto__": this name/,
  ],
  ['metadata that is no object', raw('{"__metadata__": "pt"}'), /__metadata__ must map strings to strings/],
  ['metadata with numbers', raw('{"__metadata__": {"a": 1}}'), /__metadata__ must map strings to strings/],
  ['a name with line breaks', raw('{"a\\nb\\u2028c": 3}'), /tensor "a\\nb\\u2028c": the header entry/],
  ['a name of a megabyte', raw(`{"${'x'.repeat(1e6)}": 3}`), /tensor "x{116}\.\.\.: the header entry/],
];

async function failureOf(file: string): Promise<unknown> {
  return readSafetensors(file).then(
    () => undefined,
    (error: unknown) => error,
  );
}

function expectOneLine(error: unknown, file: string): asserts error is DejaDitError {
  expect(error).toBeInstanceOf(DejaDitError);
  const { message } = error as DejaDitError;
  expect(message.startsWith(`${file}: `), message).toBe(true);
  expect(message.slice(file.length).length, message).toBeLessThan(500);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a message must not carry to a terminal
  expect(message).not.toMatch(/[\0-\x1f\x7f-\x9f\u2028\u2029]/);
}

describe('every trick ends in one line that names the file', () => {
  it.each(tricks)('%s', async (_, bytes, message) => {
    await writeFile(path, bytes);
    const error = await failureOf(path);
    expectOneLine(error, path);
    expect(error.code).toBe('INVALID_FILE');
    expect(error.message).toMatch(message);
  });

  it('a header larger than the format allows, in a file that is large enough', async () => {
    await writeFile(path, fileOf('{}', { length: 10_000_000_000n }));
    await truncate(path, 10_000_000_100);
    const error = await failureOf(path);
    expectOneLine(error, path);
    expect(error.message).toMatch(/claims a header of 10000000000 bytes, the format allows 100000000/);
  });

  it('a folder, and nothing at all', async () => {
    expect(await failureOf(folder)).toMatchObject({ code: 'INVALID_FILE', path: folder });
    expect(await failureOf(join(folder, 'none'))).toMatchObject({ code: 'NOT_FOUND' });
  });
});

it('a good file cut at every third byte is refused', async () => {
  const good = await readFile(join(import.meta.dirname, '../../../fixtures/weights/python.safetensors'));
  for (let length = 0; length < good.length; length += 3) {
    await writeFile(path, good.subarray(0, length));
    expectOneLine(await failureOf(path), path);
  }
});

describe('fuzzing', () => {
  it('gives tensors that are in the file, or one line', async () => {
    const good = await readFile(join(import.meta.dirname, '../../../fixtures/weights/python.safetensors'));
    const random = seeded(2024);
    let accepted = 0;
    for (let i = 0; i < 1500; i++) {
      const bytes = damageSafetensors(good, random);
      await writeFile(path, bytes);
      const error = await failureOf(path);
      if (error !== undefined) {
        expectOneLine(error, path);
        continue;
      }
      accepted++;
      await expectFaithful(bytes);
    }
    // Both outcomes must have been met often, or the damages are too harsh or too mild to prove anything.
    expect(accepted).toBeGreaterThan(100);
    expect(accepted).toBeLessThan(1200);
  });

  /** What was read is what the header says, read here in the plainest way. */
  async function expectFaithful(bytes: Buffer): Promise<void> {
    const dataStart = 8 + Number(bytes.readBigUInt64LE());
    const header: Record<string, { shape: number[]; data_offsets: [number, number] }> = JSON.parse(
      bytes.toString('utf8', 8, dataStart),
    );
    delete header['__metadata__'];
    const tensors = await readSafetensors(path);
    expect([...(await readSafetensorsHeader(path)).tensors.keys()].sort()).toEqual(Object.keys(header).sort());
    expect(Object.keys(tensors).sort()).toEqual(Object.keys(header).sort());
    let total = 0;
    for (const [name, { shape, data_offsets: range }] of Object.entries(header)) {
      const { data, shape: readShape } = tensors[name]!;
      const stored = bytes.subarray(dataStart + range[0], dataStart + range[1]);
      expect(readShape).toEqual(shape);
      expect(Buffer.from(data.buffer, data.byteOffset, data.byteLength).equals(stored), name).toBe(true);
      expect(data.buffer.byteLength).toBe(data.byteLength);
      total += data.byteLength;
    }
    expect(dataStart + total).toBe(bytes.length);
  }
});
