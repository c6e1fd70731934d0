/**
 * The LoRAs of a loaded model: one is brought in when a request first names it, at strength 0, so that it acts only where it is asked for. Weights
 * change between requests alone: who brings a LoRA waits until those that run are over, and those that come later wait for it.
 */
import { DejaDitError, throwIfAborted } from '../../errors/errors.ts';
import { loadLora } from '../../pipelines/lora/lora.ts';
import type { Pipeline } from '../../pipelines/pipeline.ts';
import { knownLoras, type LoraSources, loraName } from '../loras.ts';

export class LoraShelf {
  private readonly loaded = new Set<string>();
  private users = 0;
  private turn: Promise<void> = Promise.resolve();
  private onIdle: (() => void) | undefined;

  constructor(
    private readonly pipe: Pipeline,
    private readonly sources: LoraSources,
  ) {}

  /** Brings the one that is there from the start. */
  async begin(): Promise<void> {
    const { lora } = this.sources;
    if (!lora) return;
    const name = loraName(lora.path);
    await loadLora(this.pipe, lora.path, { name, ...(lora.strength === undefined ? {} : { strength: lora.strength }) });
    this.loaded.add(name);
  }

  /**
   * Brings what is missing, and keeps the weights as they are until the user says that it is done.
   * @throws DejaDitError NOT_FOUND for a name that is none; what loading throws
   */
  async use(names: readonly string[], signal?: AbortSignal): Promise<() => void> {
    const before = this.turn;
    let next = () => {};
    this.turn = new Promise((resolve) => {
      next = resolve;
    });
    await before;
    try {
      throwIfAborted(signal);
      const missing = names.filter((name) => !this.loaded.has(name));
      if (missing.length > 0) {
        await this.idle();
        throwIfAborted(signal);
        for (const name of missing) await this.bring(name);
      }
      this.users++;
    } finally {
      next();
    }
    return () => {
      this.users--;
      if (this.users === 0) this.onIdle?.();
    };
  }

  private async bring(name: string): Promise<void> {
    const file = knownLoras(this.sources).get(name);
    if (file === undefined) throw new DejaDitError('NOT_FOUND', `there is no LoRA '${name}'`, { path: 'loras' });
    await loadLora(this.pipe, file, { name, strength: 0 });
    this.loaded.add(name);
  }

  private idle(): Promise<void> {
    if (this.users === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.onIdle = () => {
        this.onIdle = undefined;
        resolve();
      };
    });
  }
}
