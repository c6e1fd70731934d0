/** Random damage to files, for tests: the same damage for the same seed on every machine. */

export type Random = (below: number) => number;

/** Numerical Recipes' linear congruential generator. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const tokens = [
  ...['-1', '0', '0.5', '1e400', '9007199254740993', '18446744073709551615', 'null', 'true', '[]', '{}', '""'],
  ...[
    '"F32"',
    '"BF16"',
    '"I64"',
    '"__proto__"',
    '"__metadata__"',
    '"../x"',
    '[0,0]',
    ',',
    ':',
    '"',
    '\\',
    '\n',
    ' ',
    '}',
  ],
];

/** One damage to a JSON text: a byte, a token, a hole or a number. */
export function damageJson(json: Buffer, random: Random): Buffer {
  const at = random(json.length);
  const splice = (middle: string) =>
    Buffer.concat([json.subarray(0, at), Buffer.from(middle), json.subarray(at + random(6))]);
  switch (random(4)) {
    case 0:
      return Buffer.from(json.map((byte, i) => (i === at ? random(256) : byte)));
    case 1:
      return splice(tokens[random(tokens.length)]!);
    case 2:
      return splice('');
    default: {
      // Numbers are where readers go wrong: replace one whole number by another.
      const numbers = [...json.toString('latin1').matchAll(/\d+/g)];
      const found = numbers[random(numbers.length)];
      if (!found) return json;
      const value = [random(64), -random(9), 2 ** random(60), Number(found[0]) + random(5) - 2][random(4)];
      const end = found.index + found[0].length;
      return Buffer.concat([json.subarray(0, found.index), Buffer.from(`${value}`), json.subarray(end)]);
    }
  }
}
