/** A line plot as SVG: PSNR against speed-up, one curve per method. Enough for a sweep and nothing more. */

export interface Curve {
  name: string;
  points: readonly { x: number; y: number; label?: string }[];
  /** Drawn dashed, as what the others are compared with. */
  baseline?: boolean;
}

export interface PlotOptions {
  title: string;
  xLabel: string;
  yLabel: string;
  curves: readonly Curve[];
}

const width = 720;
const height = 460;
const frame = { left: 64, right: 172, top: 44, bottom: 52 };
/** Distinguishable in print and for the colour-blind (Okabe and Ito). */
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000', '#999999'];

/** The plot as an SVG document. Points that are not finite are left out. */
export function plotSvg({ title, xLabel, yLabel, curves }: PlotOptions): string {
  const drawn = curves.map((curve) => ({
    ...curve,
    points: curve.points.filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y)).sort((a, b) => a.x - b.x),
  }));
  const all = drawn.flatMap(({ points }) => points);
  const xTicks = ticks(all.map(({ x }) => x));
  const yTicks = ticks(all.map(({ y }) => y));
  const scale = (value: number, on: readonly number[], from: number, to: number) =>
    from + ((value - on[0]!) / (on.at(-1)! - on[0]!)) * (to - from);
  const x = (value: number) => scale(value, xTicks, frame.left, width - frame.right).toFixed(1);
  const y = (value: number) => scale(value, yTicks, height - frame.bottom, frame.top).toFixed(1);

  const grid = [
    ...xTicks.map(
      (tick) =>
        `<path class="grid" d="M${x(tick)} ${frame.top}V${height - frame.bottom}"/>` +
        `<text x="${x(tick)}" y="${height - frame.bottom + 18}" text-anchor="middle">${figure(tick)}</text>`,
    ),
    ...yTicks.map(
      (tick) =>
        `<path class="grid" d="M${frame.left} ${y(tick)}H${width - frame.right}"/>` +
        `<text x="${frame.left - 8}" y="${Number(y(tick)) + 4}" text-anchor="end">${figure(tick)}</text>`,
    ),
  ];
  const lines = drawn.map(({ name, points, baseline }, i) => {
    const colour = colours[i % colours.length]!;
    const path = points.map((point, at) => `${at === 0 ? 'M' : 'L'}${x(point.x)} ${y(point.y)}`).join('');
    const dots = points.map(
      (point) =>
        `<circle cx="${x(point.x)}" cy="${y(point.y)}" r="3.2"><title>${xml(`${name} ${point.label ?? ''}`.trim())}: ` +
        `${point.x.toFixed(2)}×, ${point.y.toFixed(1)} dB</title></circle>`,
    );
    const at = frame.top + 10 + i * 20;
    const right = width - frame.right;
    return (
      `<g fill="${colour}" stroke="${colour}"><path fill="none" stroke-width="2"${baseline ? ' stroke-dasharray="6 4"' : ''} d="${path}"/>` +
      `<path stroke-width="2"${baseline ? ' stroke-dasharray="6 4"' : ''} d="M${right + 14} ${at}h22"/>${dots.join('')}</g>` +
      `<text x="${right + 42}" y="${at + 4}">${xml(name)}</text>`
    );
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    '<style>.grid{stroke:#ddd;fill:none}text{fill:#222}</style>',
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="${frame.left}" y="24" font-size="15">${xml(title)}</text>`,
    ...grid,
    ...lines,
    `<text x="${(frame.left + width - frame.right) / 2}" y="${height - 12}" text-anchor="middle">${xml(xLabel)}</text>`,
    `<text transform="translate(18 ${height / 2}) rotate(-90)" text-anchor="middle">${xml(yLabel)}</text>`,
    '</svg>',
  ].join('\n');
}

/** Round numbers that enclose the values. */
export function ticks(values: readonly number[]): number[] {
  if (values.length === 0) return [0, 1];
  const low = Math.min(...values);
  const span = Math.max(...values) - low || Math.max(Math.abs(low), 1);
  const rough = span / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.floor(low / step);
  const count = Math.max(1, Math.ceil((low + span) / step) - first);
  return Array.from({ length: count + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

const figure = (value: number) => String(Number(value.toPrecision(6)));
const xml = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
