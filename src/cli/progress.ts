/** Progress on a terminal's last line; silent where there is no terminal to redraw. */

const blocks = ' ▏▎▍▌▋▊▉█';

export class ProgressBar {
  private readonly start = performance.now();
  private drawn = false;

  constructor(
    private readonly label: string,
    private readonly total: number,
    private readonly out: NodeJS.WriteStream = process.stderr,
  ) {}

  /** @param note shown behind the figures */
  update(done: number, note = ''): void {
    if (!this.out.isTTY) return;
    const seconds = (performance.now() - this.start) / 1000;
    const rate = done / seconds;
    const figures =
      done === 0 ? '' : ` ${rate.toFixed(rate < 10 ? 2 : 1)} it/s, ETA ${clock((this.total - done) / rate)}`;
    this.out.write(
      `\r\x1b[K${this.label} ${bar(done / this.total, 24)} ${done}/${this.total}${figures} ${note}`.trimEnd(),
    );
    this.drawn = true;
  }

  /** Removes the bar, so that results stand alone. */
  clear(): void {
    if (this.drawn) this.out.write('\r\x1b[K');
    this.drawn = false;
  }
}

/** A bar of `width` cells, drawn in eighths. */
function bar(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8);
  const partial = eighths % 8 === 0 ? '' : blocks[eighths % 8]!;
  return `${'█'.repeat(Math.floor(eighths / 8))}${partial}`.padEnd(width, '·');
}

function clock(seconds: number): string {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}
