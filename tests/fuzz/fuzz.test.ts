/**
 * Every reader against damaged files, bombs and things that are no files: whatever it is given, it reads it or says in one printable
 * line what is wrong. `npm run fuzz` does the same with many more inputs, and tells figures.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DejaDitError } from '../../src/errors/errors.ts';
import { setWarningHandler } from '../../src/errors/warnings.ts';
import { seeded } from '../../src/files/testing/fuzz.ts';
import { bombsFor } from './bombs.ts';
import { allReaders, type Reader } from './readers.ts';

const inputs = Number(process.env['FUZZ_INPUTS'] ?? 1500);
const isLong = process.env['FUZZ_INPUTS'] !== undefined;
const readers = await allReaders();
const top = mkdtempSync(path.join(tmpdir(), 'fuzz-'));
let quiet: ReturnType<typeof setWarningHandler>;
beforeAll(() => {
  quiet = setWarningHandler(() => {});
});
afterAll(() => {
  setWarningHandler(quiet);
  rmSync(top, { recursive: true });
});

function folderOf(reader: Reader): string {
  const folder = path.join(top, String(readers.indexOf(reader)));
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const [name, bytes] of Object.entries(reader.beside ?? {})) writeFileSync(path.join(folder, name), bytes);
  return folder;
}

interface Outcome {
  accepted: boolean;
  /** What is not as it must be. */
  fault?: string;
  milliseconds: number;
}

const unprintable = /[\p{Cc}\p{Cs}\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;
/** Far above any reading, so that only what never ends is cut. */
const patience = 60_000;

async function attempt(reader: Reader, folder: string): Promise<Outcome> {
  const begin = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<Error>((resolve) => {
    timer = setTimeout(() => resolve(new Error('hangs')), patience);
  });
  const reading = reader.read(folder).then(
    () => undefined,
    (error: unknown) => error,
  );
  const error = await Promise.race([reading, tooLong]);
  clearTimeout(timer);
  const milliseconds = performance.now() - begin;
  if (error === undefined) return { accepted: true, milliseconds };
  return { accepted: false, fault: faultOf(error, folder), milliseconds };
}

function faultOf(error: unknown, folder: string): string | undefined {
  if (!(error instanceof DejaDitError)) return `${(error as Error).stack}`;
  const { message } = error;
  if (unprintable.test(message)) return `does not print: ${JSON.stringify(message)}`;
  if (message.length > 1700) return `has ${message.length} characters`;
  if (!message.includes(folder)) return `names no file: ${message}`;
  return undefined;
}

describe('damaged at random', () => {
  const each = Math.ceil(inputs / readers.length);
  const figures = { inputs: 0, accepted: 0, faults: 0, slowest: 0, slowestInput: '' };

  it.each(readers.map((reader) => [reader.name, reader] as const))(
    '%s',
    async (_, reader) => {
      const folder = folderOf(reader);
      const file = path.join(folder, reader.file);
      const random = seeded(1 + readers.indexOf(reader));
      const faults: string[] = [];
      for (let i = 0; i < each; i++) {
        writeFileSync(file, reader.damage(reader.good, random));
        const { accepted, fault, milliseconds } = await attempt(reader, folder);
        figures.inputs++;
        if (accepted) figures.accepted++;
        if (milliseconds > figures.slowest)
          Object.assign(figures, { slowest: milliseconds, slowestInput: `${reader.name}, input ${i}` });
        if (fault !== undefined) faults.push(`input ${i}: ${fault}`);
      }
      figures.faults += faults.length;
      expect(faults.slice(0, 3)).toEqual([]);
    },
    3_600_000,
  );

  it('in bounded memory; with figures and bounded time if asked for', () => {
    const peak = process.resourceUsage().maxRSS / 1024;
    if (isLong) console.log({ ...figures, peakMegabytes: Math.round(peak) });
    expect(peak).toBeLessThan(1024);
    if (isLong) expect(figures.slowest).toBeLessThan(2000);
  });
});

it.each(readers.map((reader) => [reader.name, reader] as const))('%s, intact, is read', async (_, reader) => {
  const folder = folderOf(reader);
  writeFileSync(path.join(folder, reader.file), reader.good);
  // Folders of components are not there, and the coefficients fit nothing.
  const { accepted, fault } = await attempt(reader, folder);
  expect(fault).toBeUndefined();
  expect(accepted).toBe(!/model_index|settings in YAML|coefficients/.test(reader.name));
});

describe('things that are no files', () => {
  const server = createServer();
  const special = path.join(top, 'special');
  const things = ['pipe', 'random', 'zero', 'folder', 'socket', 'dangling', 'loop', 'terminal'];
  beforeAll(async () => {
    mkdirSync(special);
    mkdirSync(path.join(special, 'folder'));
    execFileSync('mkfifo', [path.join(special, 'pipe')]);
    const links = {
      random: '/dev/urandom',
      zero: '/dev/zero',
      dangling: 'nowhere',
      loop: 'loop',
      terminal: '/dev/tty',
    };
    for (const [name, target] of Object.entries(links)) symlinkSync(target, path.join(special, name));
    await new Promise<void>((resolve) => server.listen(path.join(special, 'socket'), resolve));
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));

  it.each(readers.map((reader) => [reader.name, reader] as const))('%s', async (_, reader) => {
    for (const thing of things) {
      const folder = folderOf(reader);
      symlinkSync(path.join(special, thing), path.join(folder, reader.file));
      const { accepted, fault } = await attempt(reader, folder);
      expect(fault, thing).toBeUndefined();
      // A settings file of a tokenizer that is not there is none.
      expect(accepted, thing).toBe(thing === 'dangling' && reader.name === 'tokenizer_config.json');
    }
  });
});

describe('bombs', () => {
  const cases = readers.flatMap((reader) =>
    bombsFor(reader).map((bomb) => [reader.name, bomb.name, reader, bomb] as const),
  );

  it.each(cases)('%s: %s', async (_reader, _bomb, reader, bomb) => {
    const folder = folderOf(reader);
    writeFileSync(path.join(folder, reader.file), bomb.make(reader.good));
    const { fault, milliseconds } = await attempt(reader, folder);
    rmSync(folder, { recursive: true });
    expect(fault).toBeUndefined();
    if (isLong) expect(milliseconds).toBeLessThan(2000);
  });

  it('in bounded memory', () => {
    expect(process.resourceUsage().maxRSS / 1024).toBeLessThan(1024);
  });
});
