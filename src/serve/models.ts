/** The server's models by name, and what is known of them without asking the engine. */
import path from 'node:path';
import { DejaDitError, suggest } from '../errors/errors.ts';
import type { ModelInfo, ModelState } from './engine/messages.ts';
import type { ModelRunner } from './jobs/runner.ts';

export interface ModelEntry {
  name: string;
  now: ModelState;
}

export class Models {
  /** @param runner whose models they are, the default one first; read whenever they are asked for */
  constructor(private readonly runner: Pick<ModelRunner, 'models' | 'load'>) {}

  /** The first is the default. */
  list(): ModelEntry[] {
    return [...this.runner.models].map(([name, now]) => ({ name, now }));
  }

  get default(): string {
    return this.runner.models.keys().next().value!;
  }

  /** The model that a request means. @throws DejaDitError NOT_FOUND */
  require(name: string | undefined): string {
    if (name === undefined) return this.default;
    const known = this.find(name);
    if (known !== undefined) return known;
    throw new DejaDitError('NOT_FOUND', `no model '${name}'; ${suggest(name, this.runner.models.keys())}`);
  }

  /** By its name, or by a path or repository that ends in it. */
  find(name: string): string | undefined {
    if (this.runner.models.has(name)) return name;
    const last = modelName(name);
    return this.runner.models.has(last) ? last : undefined;
  }

  state(name: string): ModelState | undefined {
    return this.runner.models.get(name);
  }

  /** What a model is, if it was ever loaded. */
  info(name: string): ModelInfo | undefined {
    const now = this.state(name);
    return now && 'info' in now ? now.info : undefined;
  }

  /** What a model is, for which it is loaded if need be; undefined if it cannot be, which its jobs will say. */
  async learn(name: string): Promise<ModelInfo | undefined> {
    if (!this.info(name)) await this.runner.load?.(name);
    return this.info(name);
  }
}

/** The last part of a folder or a repository. */
export function modelName(source: string): string {
  return path.basename(source.replace(/[/\\]+$/, '')) || source;
}
