/** `deja-dit inspect`: what a checkpoint is made of, from its headers alone. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { printable } from '../../errors/printable.ts';
import { warn } from '../../errors/warnings.ts';
import { statPath } from '../../files/files.ts';
import { type Shape, sizeOf } from '../../tensor/tensor.ts';
import { type ResolveOptions, resolveModel } from '../../weights/hub/hub.ts';
import { isOn } from '../../weights/hub/hub-cache.ts';
import { readRemoteModel } from '../../weights/hub/hub-headers.ts';
import { indexAmong, openModelFolder, readConfig } from '../../weights/model-folder.ts';
import { openWeights } from '../../weights/open-weights.ts';
import { recogniseFile } from '../../weights/single-file/known-files.ts';
import { modelsIn } from '../../weights/single-file/model-tensors.ts';
import { readTensorInfos } from '../../weights/single-file/open-single-file.ts';
import { type ModelFlags, modelOf } from '../flags/model-flags.ts';
import { bytes, jsonText, parameters, table } from '../output/format.ts';

interface ComponentReport {
  name: string;
  className: string;
  tensors: number;
  parameters: number;
  /** Share of each dtype as stored, largest first. */
  dtypes: string[];
  bytes: number;
}

export async function inspect(
  model: string | undefined,
  flags: ModelFlags & { json?: boolean; verify?: boolean; options?: boolean },
): Promise<void> {
  const { json, variant, verify } = flags;
  const { source, options } = modelOf({ ...flags, model });
  if (flags.options) return showOptions(source, { json, options });
  const isFile = (await statPath(source))?.kind === 'file';
  const isRemote =
    !isFile && !verify && !existsSync(source) && !(options.offline ?? isOn(process.env['HF_HUB_OFFLINE']));
  const root = isRemote || isFile ? source : await resolveModel(source, { ...options, verify });
  const { className, components } = isFile
    ? await inspectFile(source)
    : isRemote
      ? await inspectRepository(source, options)
      : indexAmong(readdirSync(root)) !== undefined
        ? await inspectPipeline(root, variant)
        : await inspectModel(root, variant);
  if (json) return console.log(jsonText({ path: root, className, components }));
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
  console.log(`${printable(className, 100)}  ${printable(root)}\n`);
  console.log(table([['component', 'class', 'tensors', 'parameters', 'dtypes', 'bytes'], ...rows]));
}

/** What a pipeline's requests may set. It is loaded for that: some of it depends on what its components say of themselves. */
async function showOptions(
  source: string,
  { json, options }: { json: boolean | undefined; options: ReturnType<typeof modelOf>['options'] },
): Promise<void> {
  const [{ DiffusionPipeline }, { optionsSchema }, { optionRows }] = await Promise.all([
    import('../../pipelines/diffusion-pipeline.ts'),
    import('../../pipelines/schema/options-schema.ts'),
    import('../options-table.ts'),
  ]);
  const pipe = await DiffusionPipeline.fromPretrained(source, options);
  const schema = optionsSchema(pipe);
  console.log(json ? jsonText(schema) : table(optionRows(schema)));
  await pipe.dispose();
  await pipe.programs.backend.dispose();
}

/** A file of another program: which models it holds, and what they are by the names of their tensors. */
async function inspectFile(file: string): Promise<{ className: string; components: ComponentReport[] }> {
  const groups = modelsIn(await readTensorInfos(file));
  const components = groups.map(({ kind = 'model', prefix, tensors }) => {
    const infos = [...tensors.values()].map(({ dtype, shape, bytes, encoded }) => ({
      dtype: encoded?.type ?? dtype,
      shape: encoded?.shape ?? shape,
      bytes,
    }));
    const known = recogniseFile(tensors.keys());
    return report(prefix || kind, known?.className ?? known?.title ?? '', infos);
  });
  const [first] = groups
    .map(({ tensors }) => recogniseFile(tensors.keys())?.title)
    .filter((title) => title !== undefined);
  return { className: first ?? 'weights that are not recognised', components };
}

async function inspectRepository(repository: string, options: ResolveOptions) {
  const { className = '(no class)', components } = await readRemoteModel(repository, options);
  return {
    className,
    components: components.map((component) =>
      report(component.name || 'model', component.className ?? className, [...component.tensors.values()]),
    ),
  };
}

async function inspectPipeline(
  root: string,
  variant: string | undefined,
): Promise<{ className: string; components: ComponentReport[] }> {
  const folder = await openModelFolder(root);
  const components: ComponentReport[] = [];
  for (const component of folder.components.values()) {
    if (!component) continue;
    const { name, className } = component;
    const hasWeights = existsSync(path.join(component.folder, 'config.json'));
    components.push(
      hasWeights
        ? await weightsOf({ name, className, folder: component.folder, variant })
        : report(name, className, []),
    );
  }
  return { className: folder.className, components };
}

async function inspectModel(
  root: string,
  variant: string | undefined,
): Promise<{ className: string; components: ComponentReport[] }> {
  const { className = '(no class)' } = await readConfig(root);
  return { className, components: [await weightsOf({ name: 'model', className, folder: root, variant })] };
}

interface LocalWeights {
  name: string;
  className: string;
  folder: string;
  variant: string | undefined;
}

async function weightsOf({ name, className, folder, variant }: LocalWeights): Promise<ComponentReport> {
  const source = await openWeights(folder, { variant, onMissingVariant: warn });
  const infos = source.names.map((tensor) => {
    const { dtype, shape, bytes, stored } = source.info(tensor);
    return { dtype: stored?.type ?? dtype, shape, bytes: stored?.bytes ?? bytes };
  });
  await source.close();
  return report(name, className, infos);
}

function report(
  name: string,
  className: string,
  infos: readonly { dtype: string; shape: Shape; bytes: number }[],
): ComponentReport {
  const perDtype = new Map<string, number>();
  for (const { dtype, bytes } of infos) perDtype.set(dtype, (perDtype.get(dtype) ?? 0) + bytes);
  return {
    name,
    className,
    tensors: infos.length,
    parameters: infos.reduce((sum, { shape }) => sum + sizeOf(shape), 0),
    dtypes: [...perDtype].sort((a, b) => b[1] - a[1]).map(([dtype]) => dtype),
    bytes: infos.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}
