/**
 * One request's cache: a `GroupCache` for every block group of a transformer, and nothing that outlives the request. Two requests
 * may interleave call by call on one model.
 */
import { throwIfAborted } from '../errors/errors.ts';
import { epilogue, prologue } from '../models/span.ts';
import type {
  CallContext,
  ForwardSession,
  PreparedInputs,
  StepReport,
  TransformerModel,
} from '../models/transformer-model.ts';
import type { DeviceTensor } from '../runtime/backend.ts';
import type { Section } from './block-group.ts';
import { Flow } from './flow.ts';
import type { GroupCache } from './group-cache.ts';

export interface CacheSessionOptions {
  model: TransformerModel;
  sections: readonly Section[];
  /** One per group section, in order. */
  caches: readonly GroupCache[];
  /** Called when the request ends. */
  onEnd(session: CacheSession): void;
}

export class CacheSession implements ForwardSession {
  private ended = false;

  constructor(private readonly options: CacheSessionOptions) {}

  get caches(): readonly GroupCache[] {
    return this.options.caches;
  }

  async forward(inputs: PreparedInputs, { branch, signal }: CallContext): Promise<DeviceTensor> {
    const { model, sections, caches } = this.options;
    const { definition, runner } = model;
    const flow = new Flow(runner, inputs);
    flow.add(prologue(definition));
    let group = 0;
    for (const section of sections) {
      throwIfAborted(signal);
      if (section.kind === 'plain') flow.add(...section.pieces);
      else await caches[group++]!.forward(flow, branch);
    }
    flow.add(epilogue(definition));
    throwIfAborted(signal);
    return (await flow.run()).sample!;
  }

  report(branch: string): StepReport | undefined {
    const call = this.caches[0]?.calls.findLast((record) => record.branch === branch);
    return call && { action: call.action, reason: call.reason, diff: call.diff };
  }

  end(): void {
    if (this.ended) return;
    this.ended = true;
    this.options.onEnd(this);
    for (const cache of this.caches) cache.clear();
  }
}
