/** `deja-dit manifest`: lists a model's files in its folder, so that pages can read it from any server of static files. */
import path from 'node:path';
import { DejaDitError } from '../../errors/errors.ts';
import { listFiles } from '../../files/copy-folder.ts';
import { statPath } from '../../files/files.ts';
import { writeFileAtomically } from '../../files/replace-file.ts';
import { describeForeign } from '../../weights/foreign-files.ts';

/** What a model is read from. */
const isModelFile = (name: string) => /\.(json|txt|model|jinja|safetensors)$/.test(name);

export async function manifest(folder: string): Promise<void> {
  if ((await statPath(folder))?.kind !== 'folder')
    throw new DejaDitError('NOT_FOUND', 'no such folder', { path: folder });
  const found = await listFiles({ folder, except: ['manifest.json'] });
  const names = found.map(({ path: place }) => place.split(path.sep).join('/')).filter(isModelFile);
  const foreign = describeForeign(names);
  if (foreign !== undefined) throw new DejaDitError('UNSUPPORTED', foreign, { path: folder });
  const files: Record<string, { size: number }> = {};
  for (const name of names.sort()) files[name] = { size: (await statPath(path.join(folder, name)))!.size };
  const file = path.join(folder, 'manifest.json');
  await writeFileAtomically(file, `${JSON.stringify({ files }, null, 1)}\n`);
  console.log(`${file}: ${names.length} files`);
}
