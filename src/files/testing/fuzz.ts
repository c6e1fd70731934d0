/** Random damage to files, for tests: the same damage for the same seed on every machine. */

export type Random = (below: number) => number;

export function seeded(seed: number): Random {
  const fraction = fractions(seed);
  return (below) => Math.floor(fraction() * below);
}

/** Numbers from 0 to 1, the same for the same seed: Numerical Recipes' linear congruential generator. */
export function fractions(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** What has made readers fail before: numbers at the edges, types of other fields, names with a meaning, text that moves a cursor. */
const tokens = [
  ...['-1', '0', '0.5', '1e400', '9007199254740993', '18446744073709551615', 'NaN', '-Infinity', 'null', 'true'],
  ...['[]', '{}', '""', '[0,0]', '{"toString":1}', `${'['.repeat(80)}${']'.repeat(80)}`, '['.repeat(5000)],
  ...['"F32"', '"BF16"', '"I64"', '"__proto__"', '"__metadata__"', '"constructor"', '"../x"', '"/etc/passwd"'],
  ...['"a\\nb"', '"\\u001b[2J"', '"\\u202e"', `"${'x'.repeat(5000)}"`],
  ...[',', ':', '"', '\\', '\n', ' ', '}', ']', '- ', '&a ', '*a ', '!!x ', '<<: ', '? ', '| ', '%', '---\n', '# '],
];

/** One damage to a text, JSON or YAML: a byte, a token, a hole or a number. */
export function damageText(text: Buffer, random: Random): Buffer {
  const at = random(text.length);
  const splice = (middle: string) =>
    Buffer.concat([text.subarray(0, at), Buffer.from(middle), text.subarray(at + random(6))]);
  switch (random(5)) {
    case 0:
      return Buffer.from(text.map((byte, i) => (i === at ? random(256) : byte)));
    case 1:
      return splice(tokens[random(tokens.length)]!);
    case 2:
      return splice('');
    case 3: {
      // A whole value by another, so that the text stays well-formed and what reads it next is put to the test.
      const values = [...text.toString('latin1').matchAll(/(?<=[:[,]\s*)(?:"[^"\\]{0,99}"|-?[\d.]+|true|false|null)/g)];
      const found = values[random(values.length)];
      return found ? replaced(text, found, tokens[random(tokens.length)]!) : text;
    }
    default: {
      // Numbers are where readers go wrong: replace one whole number by another.
      const numbers = [...text.toString('latin1').matchAll(/\d+/g)];
      const found = numbers[random(numbers.length)];
      if (!found) return text;
      const value = [random(64), -random(9), 2 ** random(60), Number(found[0]) + random(5) - 2][random(4)];
      return replaced(text, found, `${value}`);
    }
  }
}

function replaced(text: Buffer, { index, 0: found }: RegExpExecArray, by: string): Buffer {
  return Buffer.concat([text.subarray(0, index), Buffer.from(by), text.subarray(index + found.length)]);
}

/** One damage to a file of any format: bits, a byte, a cut, a piece twice, a length at its edge. */
export function damageBytes(bytes: Buffer, random: Random): Buffer {
  const at = random(bytes.length);
  const copy = Buffer.from(bytes);
  switch (random(5)) {
    case 0:
      copy[at]! ^= 1 << random(8);
      return copy;
    case 1:
      copy[at] = random(256);
      return copy;
    case 2:
      return copy.subarray(0, at);
    case 3:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(random(at + 1))]);
    default:
      for (let i = 0; i < 4 && at + i < copy.length; i++) copy[at + i] = [0, 0xff, 0x7f, 0x80][random(4)]!;
      return copy;
  }
}

/** Up to three damages to a safetensors file: to its header, to its length, to the data. */
export function damageSafetensors(good: Buffer, random: Random): Buffer {
  const headerEnd = 8 + Number(good.readBigUInt64LE());
  let header = good.subarray(8, headerEnd);
  let data = good.subarray(headerEnd);
  let length: bigint | undefined;
  for (let round = random(3); round >= 0; round--) {
    switch (random(8)) {
      case 0:
        data = data.subarray(0, random(data.length + 1));
        break;
      case 1:
        data = Buffer.concat([data, Buffer.alloc(random(20))]);
        break;
      case 2:
        data = Buffer.from(data.map((byte) => byte ^ (random(50) === 0 ? 1 << random(8) : 0)));
        break;
      case 3:
        length = [BigInt(random(2000)), 2n ** BigInt(random(64)), BigInt(header.length + random(9) - 4)][random(3)];
        break;
      default:
        header = damageText(header, random);
    }
  }
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length !== undefined && length >= 0n ? length : BigInt(header.length));
  return Buffer.concat([prefix, header, data]);
}

/** A safetensors file with this header, whatever it says. */
export function withHeader(header: string | Uint8Array, data = Buffer.alloc(8)): Buffer {
  const json = Buffer.from(header as string);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([prefix, json, data]);
}
