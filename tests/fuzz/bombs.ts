/** Files that are small or plain to make and ask for much: each has stalled, killed or fooled some reader. */
import { deflateSync } from 'node:zlib';
import { withHeader } from '../../src/files/testing/fuzz.ts';
import { insertPngChunks, pngChunk } from '../../src/images/png-chunks.ts';
import type { Reader } from './readers.ts';

export interface Bomb {
  name: string;
  make(good: Buffer): Buffer;
}

const deep = (open: string, close: string) => `${open.repeat(20_000)}1${close.repeat(20_000)}`;
const laughs = Array.from({ length: 9 }, (_, i) => `a${i}: &a${i} [${Array(9).fill(i ? `*a${i - 1}` : 'x')}]`).join(
  '\n',
);

/** JSON whose fields are those of a good file, all of this value. */
const everyField = (value: string) => (good: Buffer) =>
  `{${Object.keys(JSON.parse(good.toString()) as object)
    .map((key) => `${JSON.stringify(key)}:${value}`)
    .join()}}`;

const texts: [string, (good: Buffer) => string][] = [
  ['20,000 brackets', () => `{"a":${deep('[', ']')}}`],
  ['20,000 braces', () => deep('{"a":', '}')],
  ['brackets without end', () => '['.repeat(30_000_000)],
  ['ten million lists', () => `{"a":[${'[],'.repeat(10_000_000)}[]]}`],
  ['a name of 30 MB', () => `{"${'x'.repeat(30_000_000)}":1}`],
  ['a number of 10 MB', () => `{"a":${'9'.repeat(10_000_000)}}`],
  [
    'escape codes for a class',
    () => '{"_class_name":"X\\u001b[2J\\nforged: all is well\\u202e","weight_map":{"a\\nb":1}}',
  ],
];
/** What is well-formed, and of another kind in every field. */
const values: [string, string][] = [
  ['objects that are no text', '{"toString":1,"valueOf":2}'],
  ['deep lists', `${'['.repeat(60)}${']'.repeat(60)}`],
  ['escape codes', '"\\u001b[2J\\nforged\\u202e\\u2028"'],
  ['a long text', `"${'x'.repeat(1_000_000)}"`],
  ['a large number', '1e15'],
];

export function bombsFor({ format, name }: Reader): Bomb[] {
  switch (format) {
    case 'json':
      return [
        ...texts.map(([what, make]) => ({ name: what, make: (good: Buffer) => Buffer.from(make(good)) })),
        ...values.map(([what, value]) => ({
          name: what,
          make: (good: Buffer) => Buffer.from(everyField(value)(good)),
        })),
      ];
    case 'safetensors':
      return texts.map(([what, make]) => ({ name: what, make: (good) => withHeader(make(good)) }));
    case 'yaml':
      return [
        ['two million brackets', '['.repeat(2_000_000)],
        ['60,000 brackets', '['.repeat(60_000)],
        ['30,000 lists', `${'- '.repeat(30_000)}a`],
        ['a billion laughs', laughs],
        ['ten thousand errors', ']'.repeat(10_000)],
        ['ten million spaces', ' '.repeat(10_000_000)],
        ['escape codes', 'cache_config: { "a\\e[2Jb\\nforged": 1 }'],
      ].map(([what, text]) => ({ name: what!, make: () => Buffer.from(text!) }));
    case 'bytes':
      return name.endsWith('.png') ? pngBombs : [];
    default:
      return format satisfies never;
  }
}

const pngBombs: Bomb[] = [
  {
    name: 'a header of two billion pixels squared',
    make(good) {
      const bytes = Buffer.from(good);
      bytes.writeUInt32BE(0x7fffffff, 16);
      bytes.writeUInt32BE(0x7fffffff, 20);
      return bytes;
    },
  },
  {
    name: 'a thousand texts that inflate to 16 MB',
    make(good) {
      const text = deflateSync(Buffer.alloc(16_000_000, 97));
      const chunk = pngChunk('iTXt', Buffer.concat([Buffer.from('parameters\0\x01\0\0\0'), text]));
      return Buffer.from(insertPngChunks(good, Array(1000).fill(chunk)));
    },
  },
  {
    name: 'sixty thousand notes that share 10 MB',
    make(good) {
      const count = 60_000;
      const directory = Buffer.alloc(2 + 12 * count);
      directory.writeUInt16BE(count);
      for (let i = 0; i < count; i++) {
        directory.writeUInt16BE(i % 2 ? 0x927c : 0x9286, 2 + 12 * i);
        directory.writeUInt16BE(7, 4 + 12 * i);
        directory.writeUInt32BE(10_000_000, 6 + 12 * i);
      }
      const main = Buffer.from('MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1a\0\0\0\0', 'latin1');
      const exif = Buffer.concat([main, directory, Buffer.alloc(10_000_000, 97)]);
      return Buffer.from(insertPngChunks(good, [pngChunk('eXIf', exif)]));
    },
  },
  {
    name: 'metadata of 20,000 brackets',
    make(good) {
      const chunk = pngChunk('tEXt', Buffer.from(`deja-dit\0{"a":${deep('[', ']')}}`));
      return Buffer.from(insertPngChunks(good, [chunk]));
    },
  },
];
