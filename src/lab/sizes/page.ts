/** `docs/sizes.md`: how large published models are. */
import { modelSize } from './model-size.ts';
import { publishedModels } from './published.ts';

const head = ['model', 'parameters', 'a call at', 'TFLOP', 'beside the weights', 'float32', 'int8_per_row', 'int4'];

export async function sizesPage(): Promise<string> {
  const intro = `# Sizes of published models

Transformers as they were published (\`src/lab/sizes/published.ts\` says with which config), counted and not run: \`npm run docs:sizes\` emits each as
a graph over weights that exist in name only. One call, of one prompt, at a usual size: its operations, what it holds at its peak beside the
weights (in float32, before fused kernels save some of it), and the weights in float32 and as \`quantize\` makes them by default, in GB of 10⁹
bytes. A step with classifier-free guidance makes two calls. Text encoders and autoencoders come on top.
`;
  const rows: string[][] = [];
  for (const model of publishedModels) {
    const { parameters, bytes, call } = await modelSize(model);
    rows.push([
      `${model.name} (\`${model.family}\`)`,
      parameters < 1e9 ? `${(parameters / 1e6).toFixed(0)} M` : `${(parameters / 1e9).toFixed(2)} B`,
      model.call.at,
      String(Number((call.flops / 1e12).toPrecision(3))),
      ...[call.peak, bytes.float32, bytes.int8, bytes.int4].map((count) => (count / 1e9).toFixed(2)),
    ]);
  }
  const rule = head.map((_, column) => (column === 0 || column === 2 ? '---' : '--:'));
  return `${intro}\n${[head, rule, ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')}\n`;
}
