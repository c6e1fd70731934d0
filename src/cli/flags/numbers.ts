/** How the command line reads numbers and lists: one way for all flags. */
import { InvalidArgumentError } from 'commander';
import { parseBytes } from '../../weights/byte-size.ts';

interface Bounds {
  min?: number;
  max?: number;
}

/** A parser of whole numbers. */
export function integer(bounds: Bounds = {}): (text: string) => number {
  return parser('an integer', Number.isSafeInteger, bounds);
}

/** A parser of numbers. */
export function number(bounds: Bounds = {}): (text: string) => number {
  return parser('a number', Number.isFinite, bounds);
}

function parser(kind: string, is: (value: number) => boolean, { min, max }: Bounds): (text: string) => number {
  const range = [min === undefined ? '' : ` from ${min}`, max === undefined ? '' : ` to ${max}`].join('');
  return (text) => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (is(value) && value >= (min ?? value) && value <= (max ?? value)) return value;
    throw new InvalidArgumentError(`It must be ${kind}${range}.`);
  };
}

/** Bytes, as 512MiB, 4GB or a plain number. */
export function byteSize(text: string): number {
  const bytes = parseBytes(text);
  if (bytes > 0) return bytes;
  throw new InvalidArgumentError('It must be bytes, as 512MiB or 4GiB.');
}

/** Numbers separated by commas. */
export function numbers(text: string): number[] {
  return list(text).map(number());
}

/** Names separated by commas. */
export function list(text: string): string[] {
  return text.split(',').map((name) => name.trim());
}

/** `512` or `768x512`. */
export function size(text: string): { width: number; height: number } {
  const [, width, height] = /^(\d+)(?:x(\d+))?$/i.exec(text) ?? [];
  if (width === undefined) throw new InvalidArgumentError('It must be as 512 or 768x512.');
  return { width: Number(width), height: Number(height ?? width) };
}
