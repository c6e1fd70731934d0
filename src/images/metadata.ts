/**
 * What made an image, written into its file twice: as the text that Automatic1111 introduced and most tools read
 * (`parameters`), and as JSON that loses nothing. Where in a file they go is in
 * `codec.ts`, reading them back in `read-metadata.ts`.
 */

/** Settings of a generation under the names of `generate()`; anything else may be added. */
export interface ImageMetadata {
  prompt?: string;
  negativePrompt?: string;
  numInferenceSteps?: number;
  guidanceScale?: number;
  seed?: number;
  scheduler?: string;
  model?: string;
  /** Set from the image on writing. */
  width?: number;
  height?: number;
  [name: string]: unknown;
}

/** Names in the settings line and the fields they stand for, in writing order. `Size` is handled apart. */
const settingNames: [name: string, field: string][] = [
  ['Steps', 'numInferenceSteps'],
  ['Sampler', 'scheduler'],
  ['CFG scale', 'guidanceScale'],
  ['Seed', 'seed'],
  ['Model', 'model'],
];

/** The three parts of the Automatic1111 convention: prompt, negative prompt, and a line of settings. */
export function parametersText(metadata: ImageMetadata): string {
  const settings = settingNames
    .filter(([, field]) => metadata[field] !== undefined)
    .map(([name, field]) => `${name}: ${quoted(String(metadata[field]))}`);
  if (metadata.width !== undefined && metadata.height !== undefined) {
    const afterSeed = settings.filter((setting) => !setting.startsWith('Model: ')).length;
    settings.splice(afterSeed, 0, `Size: ${metadata.width}x${metadata.height}`);
  }
  const negative = metadata.negativePrompt ? [`Negative prompt: ${metadata.negativePrompt}`] : [];
  return [metadata.prompt ?? '', ...negative, settings.join(', ')].join('\n');
}

/** Reads such a text back; undefined if it has no settings line, so is something else. */
export function parseParameters(text: string): ImageMetadata | undefined {
  const lines = text.trim().split('\n');
  const settings = parseSettings(lines.pop() ?? '');
  if (settings.size === 0) return undefined;
  const metadata: ImageMetadata = {};
  const at = lines.findIndex((line) => line.startsWith('Negative prompt:'));
  metadata.prompt = (at < 0 ? lines : lines.slice(0, at)).join('\n').trim();
  if (at >= 0) metadata.negativePrompt = lines.slice(at).join('\n').slice('Negative prompt:'.length).trim();
  for (const [name, value] of settings) {
    const field = settingNames.find(([known]) => known === name)?.[1];
    const size = /^(\d+)x(\d+)$/.exec(value);
    if (name === 'Size' && size) [metadata.width, metadata.height] = [Number(size[1]), Number(size[2])];
    else if (field !== undefined) metadata[field] = /^-?[\d.]+(e[+-]?\d+)?$/.test(value) ? Number(value) : value;
    else metadata[name] = value;
  }
  return metadata;
}

/** Everything, in characters that survive any encoding. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Values with separators in them are written as JSON strings. */
function quoted(value: string): string {
  return /[,:\n"]/.test(value) ? JSON.stringify(value) : value;
}

function parseSettings(line: string): Map<string, string> {
  const settings = new Map<string, string>();
  // A line longer than any tool writes is not worth the time that a hostile one would cost.
  if (line.length > 2 ** 14 || !/(^|, )Steps: /.test(line)) return settings;
  for (const [, name, value] of line.matchAll(/([^,:"]{1,64}): ("(?:[^"\\]|\\.)*"|[^,]*)/g)) {
    settings.set(name!.trim(), unquoted(value!.trim()));
  }
  return settings;
}

function unquoted(value: string): string {
  if (!value.startsWith('"')) return value;
  try {
    return String(JSON.parse(value));
  } catch {
    return value;
  }
}
