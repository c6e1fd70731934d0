/** `deja-dit inspect`: what a checkpoint is made of, from its headers alone. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { sizeOf } from '../tensor/tensor.ts';
import { resolveModel } from '../weights/hub.ts';
import { modelIndexName, openModelFolder, readConfig } from '../weights/model-folder.ts';
import { openWeights } from '../weights/open-weights.ts';
import { bytes, parameters, table } from './format.ts';
import { modelPath } from './model-path.ts';

interface ComponentReport {
  name: string;
  className: string;
  tensors: number;
  parameters: number;
  /** Share of each dtype as stored, largest first. */
  dtypes: string[];
  bytes: number;
}

export async function inspect(model: string | undefined, { json }: { json?: boolean }): Promise<void> {
  const root = await resolveModel(modelPath(model));
  const isPipeline = existsSync(path.join(root, modelIndexName));
  const { className, components } = isPipeline ? await inspectPipeline(root) : await inspectModel(root);
  if (json) return console.log(JSON.stringify({ path: root, className, components }, null, 2));
  const rows = components.map((c) => [
    c.name,
    c.className,
    c.tensors === 0 ? '' : String(c.tensors),
    c.parameters === 0 ? '' : parameters(c.parameters),
    c.dtypes.join(' '),
    c.bytes === 0 ? '' : bytes(c.bytes),
  ]);
  const total = (key: 'tensors' | 'parameters' | 'bytes') => components.reduce((sum, c) => sum + c[key], 0);
  rows.push(['total', '', String(total('tensors')), parameters(total('parameters')), '', bytes(total('bytes'))]);
  console.log(`${className}  ${root}\n`);
  console.log(table([['component', 'class', 'tensors', 'parameters', 'dtypes', 'bytes'], ...rows]));
}

async function inspectPipeline(root: string): Promise<{ className: string; components: ComponentReport[] }> {
  const folder = await openModelFolder(root);
  const components: ComponentReport[] = [];
  for (const component of folder.components.values()) {
    if (!component) continue;
    const { name, className } = component;
    const hasWeights = existsSync(path.join(component.folder, 'config.json'));
    components.push(
      hasWeights
        ? await weightsOf(name, className, component.folder)
        : { name, className, tensors: 0, parameters: 0, dtypes: [], bytes: 0 },
    );
  }
  return { className: folder.className, components };
}

async function inspectModel(root: string): Promise<{ className: string; components: ComponentReport[] }> {
  const { className = '(no class)' } = await readConfig(root);
  return { className, components: [await weightsOf('model', className, root)] };
}

async function weightsOf(name: string, className: string, folder: string): Promise<ComponentReport> {
  const source = await openWeights(folder);
  const perDtype = new Map<string, number>();
  const report = { name, className, tensors: source.names.length, parameters: 0, dtypes: [] as string[], bytes: 0 };
  for (const tensor of source.names) {
    const info = source.info(tensor);
    report.parameters += sizeOf(info.shape);
    report.bytes += info.bytes;
    perDtype.set(info.dtype, (perDtype.get(info.dtype) ?? 0) + info.bytes);
  }
  await source.close();
  report.dtypes = [...perDtype].sort((a, b) => b[1] - a[1]).map(([dtype]) => dtype);
  return report;
}
