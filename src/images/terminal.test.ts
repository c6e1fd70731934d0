import { expect, it } from 'vitest';
import { renderToTerminal } from './terminal.ts';

const pixels = (levels: number[][], width: number) => ({
  width,
  height: levels.length / width,
  channels: 3 as const,
  data: Uint8Array.from(levels.flat()),
});

it('shows two pixels per character', () => {
  const image = pixels(
    [
      [255, 0, 0],
      [0, 255, 0],
      [0, 0, 255],
      [9, 9, 9],
    ],
    2,
  );
  expect(renderToTerminal(image)).toBe(
    '\x1b[38;2;255;0;0m\x1b[48;2;0;0;255m▀\x1b[38;2;0;255;0m\x1b[48;2;9;9;9m▀\x1b[0m\n',
  );
  expect(renderToTerminal(image, { truecolor: false })).toBe(
    '\x1b[38;5;196m\x1b[48;5;21m▀\x1b[38;5;46m\x1b[48;5;16m▀\x1b[0m\n',
  );
});

it('averages what a cell covers and leaves the last half row open', () => {
  const image = pixels(
    [
      [0, 0, 0],
      [100, 0, 0],
      [0, 50, 0],
      [0, 0, 0],
    ],
    2,
  );
  expect(renderToTerminal(image, { columns: 1 })).toBe('\x1b[38;2;25;13;0m▀\x1b[0m\n');
});

it('picks the nearest colour of the palette', () => {
  const levels = [0, 95, 135, 175, 215, 255];
  for (let level = 0; level < 256; level++) {
    const code = Number(
      /38;5;(\d+)m/.exec(renderToTerminal(pixels([[level, level, level]], 1), { truecolor: false }))?.[1],
    );
    const chosen = levels[(code - 16) % 6]!;
    const nearest = Math.min(...levels.map((candidate) => Math.abs(candidate - level)));
    expect(Math.abs(chosen - level)).toBe(nearest);
  }
});
