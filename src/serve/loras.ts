/**
 * The LoRAs that requests may name, and those that apply to requests which name none. They are known by the names of their files: the one that the
 * server was started with, and those of a folder, which is looked at whenever it is asked for. No request names a path. What brings them to
 * the models is `engine/lora-shelf.ts`.
 */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { DejaDitError, suggest } from '../errors/errors.ts';

export interface LoraSources {
  /** On all models from the start, as `strength` says. */
  lora?: { path: string; strength?: number | undefined } | undefined;
  /** A folder of safetensors files, or of folders that hold one each. */
  loraDir?: string | undefined;
}

export type Strengths = Readonly<Record<string, number>>;

const suffix = '.safetensors';

export const loraName = (file: string): string => path.basename(file.replace(/[/\\]+$/, ''), suffix);

/** Files by name. @throws DejaDitError NOT_FOUND if the folder cannot be read */
export function knownLoras({ lora, loraDir }: LoraSources): Map<string, string> {
  const known = new Map<string, string>();
  if (lora) known.set(loraName(lora.path), lora.path);
  if (loraDir === undefined) return known;
  let entries: ReturnType<typeof entriesOf>;
  try {
    entries = entriesOf(loraDir);
  } catch (cause) {
    throw new DejaDitError('NOT_FOUND', 'cannot be read as a folder', { path: loraDir, cause });
  }
  for (const entry of entries) {
    const isHidden = entry.name.startsWith('.');
    if (isHidden || (entry.isFile() && !entry.name.endsWith(suffix))) continue;
    const name = loraName(entry.name);
    if (!known.has(name)) known.set(name, path.join(loraDir, entry.name));
  }
  return known;
}

const entriesOf = (folder: string) =>
  readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));

export class Loras {
  /** What applies to requests that name none; undefined: what the server was started with. */
  private chosen: Strengths | undefined;

  constructor(private readonly sources: LoraSources) {
    knownLoras(sources);
  }

  get names(): string[] {
    return [...knownLoras(this.sources).keys()];
  }

  /** The name of a LoRA that is there. @throws DejaDitError NOT_FOUND */
  require(name: string, field = 'loras'): string {
    const { names } = this;
    if (names.includes(name)) return name;
    const why = names.length > 0 ? suggest(name, names) : 'the server finds them in --lora-dir';
    throw new DejaDitError('NOT_FOUND', `there is no LoRA '${name}'; ${why}`, { path: field });
  }

  /** What applies to requests that name none. */
  get active(): Strengths {
    if (this.chosen) return this.chosen;
    const { lora } = this.sources;
    return lora ? { [loraName(lora.path)]: lora.strength ?? 1 } : {};
  }

  set active(strengths: Strengths) {
    this.chosen = strengths;
  }

  /** Strengths of a request that names none, where they are not those that the models have anyway. */
  get overriding(): Strengths | undefined {
    return this.chosen;
  }
}
