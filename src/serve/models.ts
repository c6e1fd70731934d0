/** The server's models by name, and what is known of them without asking the engine. */
import path from 'node:path';
import { DejaDitError, suggest } from '../errors/errors.ts';
import type { ModelState } from './engine/messages.ts';

export interface ModelEntry {
  name: string;
  now: ModelState;
}

export class Models {
  /** @param states by name, the default model first; read whenever it is asked for */
  constructor(private readonly states: ReadonlyMap<string, ModelState>) {}

  /** The first is the default. */
  list(): ModelEntry[] {
    return [...this.states].map(([name, now]) => ({ name, now }));
  }

  get default(): string {
    return this.states.keys().next().value!;
  }

  /** The model that a request means. @throws DejaDitError NOT_FOUND */
  require(name: string | undefined): string {
    if (name === undefined) return this.default;
    const known = this.find(name);
    if (known !== undefined) return known;
    throw new DejaDitError('NOT_FOUND', `no model '${name}'; ${suggest(name, this.states.keys())}`);
  }

  /** By its name, or by a path or repository that ends in it. */
  find(name: string): string | undefined {
    if (this.states.has(name)) return name;
    const last = modelName(name);
    return this.states.has(last) ? last : undefined;
  }

  state(name: string): ModelState | undefined {
    return this.states.get(name);
  }
}

/** The last part of a folder or a repository. */
export function modelName(source: string): string {
  return path.basename(source.replace(/[/\\]+$/, '')) || source;
}
