/** Progress on a terminal's last line; silent where there is no terminal that redraws. */
import { printable } from '../../errors/printable.ts';
import { clock } from './format.ts';

const blocks = ' ▏▎▍▌▋▊▉█';

export interface ProgressOptions {
  /** When the work began, on `performance`'s clock. Default: now. */
  start?: number;
  /** How much was done by then. Default 0. */
  from?: number;
  /** How amounts are written. Default: as they are, counted as iterations. */
  show?: (amount: number) => string;
  out?: NodeJS.WriteStream;
}

export class ProgressBar {
  private readonly start: number;
  private readonly from: number;
  private readonly show: ((amount: number) => string) | undefined;
  private readonly out: NodeJS.WriteStream;
  private drawnAt = Number.NEGATIVE_INFINITY;
  private drawn = false;

  constructor(
    private readonly label: string,
    private readonly total: number,
    { start = performance.now(), from = 0, show, out = process.stderr }: ProgressOptions = {},
  ) {
    this.start = start;
    this.from = from;
    this.show = show;
    this.out = out;
  }

  /** @param note shown behind the figures */
  update(done: number, note = ''): void {
    if (!redraws(this.out)) return;
    const now = performance.now();
    // Pieces of a download come faster than anybody reads.
    if (now - this.drawnAt < 50 && done < this.total) return;
    this.drawnAt = now;
    const rate = ((done - this.from) * 1000) / (now - this.start);
    const show = this.show ?? String;
    const figures =
      done <= this.from || !Number.isFinite(rate)
        ? ''
        : ` ${this.show ? `${show(rate)}/s` : `${rate.toFixed(rate < 10 ? 2 : 1)} it/s`}, ETA ${clock((this.total - done) / rate)}`;
    const line = `${this.label} ${bar(done / this.total, 24)} ${show(done)}/${show(this.total)}${figures} ${printable(note, 100)}`;
    this.out.write(`\r\x1b[K${line.trimEnd().slice(0, (this.out.columns || 80) - 1)}`);
    this.drawn = true;
  }

  /** Removes the bar, so that results stand alone. */
  clear(): void {
    if (this.drawn) this.out.write('\r\x1b[K');
    this.drawn = false;
  }
}

/** Whether what is written can be taken back: a terminal, and not one that says it cannot (`TERM=dumb`). */
export function redraws(out: NodeJS.WriteStream): boolean {
  return out.isTTY && process.env['TERM'] !== 'dumb';
}

/** A bar of `width` cells, drawn in eighths. */
function bar(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8);
  const partial = eighths % 8 === 0 ? '' : blocks[eighths % 8]!;
  return `${'█'.repeat(Math.floor(eighths / 8))}${partial}`.padEnd(width, '·');
}
