/** Lines over the number of a request, as an SVG. */

const [width, height, margin] = [720, 300, 48];

/**
 * @param lines values from 0 up, of equal number
 * @param limit drawn across
 * @param parts where each begins, and its label below
 */
export function curve({ title, lines, limit, parts }) {
  const count = lines[0].values.length;
  const top = 100 * Math.ceil(Math.max(...lines.flatMap(({ values }) => values)) / 100);
  const x = (i) => (margin + (i / (count - 1)) * (width - 2 * margin)).toFixed(1);
  const y = (value) => (height - margin - (value / top) * (height - 2 * margin)).toFixed(1);
  const text = (at, label, extra = '') => `<text x="${at[0]}" y="${at[1]}" ${extra}>${label}</text>`;
  const across = (value, style) =>
    `<line x1="${margin}" x2="${width - margin}" y1="${y(value)}" y2="${y(value)}" ${style}/>`;
  const ticks = Array.from({ length: top / 100 + 1 }, (_, i) => 100 * i);
  const content = [
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...ticks.flatMap((value) => [
      across(value, 'stroke="#ddd"'),
      text([margin - 6, Number(y(value)) + 4], value, 'text-anchor="end"'),
    ]),
    across(limit.value, `stroke="${limit.colour}" stroke-dasharray="2 3"`),
    ...parts.map(({ from, label }) => text([x(from), height - margin + 20], label)),
    ...parts
      .slice(1)
      .map(
        ({ from }) =>
          `<line x1="${x(from)}" x2="${x(from)}" y1="${margin}" y2="${height - margin}" stroke="#888" stroke-dasharray="4 3"/>`,
      ),
    ...lines.map(
      ({ colour, values }) =>
        `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${values.map((value, i) => `${x(i)},${y(value)}`).join(' ')}"/>`,
    ),
    text([margin, margin - 24], title),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">\n${content.join('\n')}\n</svg>\n`;
}
