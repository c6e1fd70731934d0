/** Sizes in bytes as people write them. */

const units: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
};

/** Bytes of `4GiB`, `512MB`, `1.5 GiB` or a plain number; NaN for anything else. */
export function parseBytes(size: number | string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*([kmg]?i?)b?$/i.exec(String(size).trim()) ?? [];
  return Math.floor(Number(number) * (units[unit?.toLowerCase() ?? ''] ?? Number.NaN));
}
