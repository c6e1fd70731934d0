/** Tables for terminals, logs and documents alike. */
import { printable } from '../errors/printable.ts';

/** A Markdown table with padded columns: the first to the left, the others (numbers) to the right. */
export function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows].map((row) =>
    row.map((cell) => printable(cell.replaceAll('|', '\\|').replace(/\s+/g, ' '), 200)),
  );
  const widths = header.map((_, column) => Math.max(3, ...lines.map((line) => line[column]?.length ?? 0)));
  const join = (cells: string[]) => `| ${cells.join(' | ')} |`;
  const text = lines.map((line) =>
    join(widths.map((width, i) => (i === 0 ? (line[i] ?? '').padEnd(width) : (line[i] ?? '').padStart(width)))),
  );
  const rule = join(widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)));
  return [text[0], rule, ...text.slice(1)].join('\n');
}
