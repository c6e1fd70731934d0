/** Graphs within PNG files, as ComfyUI writes and reads them: a text `prompt` with the graph, and one for each part of `extra_pnginfo`. */
import { asciiJson } from '../../images/metadata.ts';
import { insertPngChunks, isPng, pngText } from '../../images/png-chunks.ts';
import type { Prompt } from './prompts.ts';

/** Whether a text of a PNG may be called so. */
export function isKeyword(name: string): boolean {
  return /^[\x21-\x7e\xa1-\xff](?:[\x20-\x7e\xa1-\xff]{0,77}[\x21-\x7e\xa1-\xff])?$/.test(name);
}

/** The file with what drew it; other formats stay as they are. */
export function withWorkflow(
  bytes: Uint8Array<ArrayBuffer>,
  { graph, extra }: Pick<Prompt, 'graph' | 'extra'>,
): Uint8Array<ArrayBuffer> {
  if (!isPng(bytes)) return bytes;
  const texts = Object.entries({ prompt: graph, ...extra.extra_pnginfo });
  return new Uint8Array(
    insertPngChunks(
      bytes,
      texts.map(([name, value]) => pngText(name, asciiJson(value))),
    ),
  );
}
