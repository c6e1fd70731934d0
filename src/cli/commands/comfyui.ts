/** `deja-dit comfyui`: what a workflow of ComfyUI draws, by a server that listens to nobody. */
import path from 'node:path';
import { DejaDitError } from '../../errors/errors.ts';
import { readFileBytes } from '../../files/files.ts';
import { checkFolderWritable, writeFileAtomically } from '../../files/replace-file.ts';
import { readWorkflow } from '../../serve/comfyui/read-workflow.ts';
import { type Drawn, readPictures, runWorkflow } from '../../serve/comfyui/run-workflow.ts';
import { createServer } from '../../serve/server.ts';
import { ProgressBar } from '../output/progress.ts';
import { engineFlags, type ServeFlags } from './serve.ts';

export interface ComfyuiFlags extends ServeFlags {
  out: string;
  quiet?: boolean;
}

/** Far above any workflow; pictures that hold one are larger. */
const largestFile = 2 ** 28;

/** @param file a graph in API format, or a PNG with one in it; pictures that it loads are beside it */
export async function comfyui(file: string, flags: ComfyuiFlags): Promise<void> {
  const graph = readWorkflow(await readFileBytes(file, { maxBytes: largestFile }), file);
  const pictures = await readPictures(graph, path.dirname(file));
  await checkFolderWritable(flags.out);
  const server = createServer(await engineFlags(flags));
  let bar: ProgressBar | undefined;
  server.core.jobs.watch((_, event) => {
    if (event.type !== 'step' || flags.quiet) return;
    bar ??= new ProgressBar('generating', event.steps);
    bar.update(event.step, event.action === 'reuse' ? 'cached' : '');
    if (event.step === event.steps) bar.clear();
  });
  try {
    await server.ready;
    const { files, warnings, texts } = await runWorkflow(server, { graph, pictures });
    for (const warning of warnings) console.error(`deja-dit: ${warning}`);
    for (const text of flags.quiet ? [] : texts) console.log(text);
    for (const drawn of files) {
      const to = placeOf(drawn, flags.out);
      await writeFileAtomically(to, drawn.bytes);
      if (!flags.quiet) console.log(to);
    }
  } finally {
    await server.close();
  }
}

/** Where a file goes: a workflow may be a stranger's, and writes nowhere else. @throws DejaDitError */
export function placeOf({ subfolder, filename }: Pick<Drawn, 'subfolder' | 'filename'>, folder: string): string {
  const parts = [...subfolder.split(/[/\\]/), filename].filter((part) => part !== '' && part !== '.');
  if (!parts.some((part) => part === '..' || /[\\/:\0]/.test(part))) return path.join(folder, ...parts);
  throw new DejaDitError('INVALID_ARGUMENT', 'leads out of --out', { path: 'filename_prefix' });
}
