/**
 * The sessions that caches make of requests. Nothing outlives the request. Two requests may interleave call by call on one model;
 * the calls of one request run one after the other, as its steps do.
 */
import { DejaDitError, throwIfAborted } from '../../errors/errors.ts';
import { epilogue, prologue } from '../../models/pieces.ts';
import type {
  CallContext,
  ForwardSession,
  PreparedInputs,
  StepReport,
  TransformerModel,
} from '../../models/transformer-model.ts';
import type { DeviceTensor } from '../../runtime/backend.ts';
import type { LoraSelection } from '../../weights/lora/lora-weights.ts';
import type { Section } from '../adapters/block-group.ts';
import type { EasyCache } from './easy-cache.ts';
import { Flow } from './flow.ts';
import type { GroupCache, RequestCache } from './group-cache.ts';

export interface CacheSessionOptions {
  model: TransformerModel;
  loras?: LoraSelection | undefined;
  /** Called when the request ends; `failed` if a call of it did not come to its end. */
  onEnd(outcome: { failed: boolean }): void;
}

export abstract class CacheSession implements ForwardSession {
  /** Floating-point operations of every block that has run, by module path. */
  readonly blockFlops = new Map<string, number>();
  /** The most that was remembered after any call. */
  peakBytes = 0;
  private ended = false;
  private running = false;
  private failed = false;
  private latest: Promise<unknown> = Promise.resolve();

  constructor(
    readonly caches: readonly RequestCache[],
    private readonly request: CacheSessionOptions,
  ) {}

  protected get model(): TransformerModel {
    return this.request.model;
  }

  /** One call, from its inputs on the device, which are the flow's, to the sample, which is the caller's. */
  protected abstract compute(flow: Flow, inputs: PreparedInputs, context: CallContext): Promise<DeviceTensor>;

  /** Bytes remembered now. */
  get bytes(): number {
    return this.caches.reduce((total, cache) => total + cache.bytes, 0);
  }

  forward(inputs: PreparedInputs, context: CallContext): Promise<DeviceTensor> {
    const call = this.latest.then(() => this.run(inputs, context));
    this.latest = call.catch(() => undefined);
    return call;
  }

  report(branch: string): StepReport | undefined {
    const call = this.caches[0]?.calls.findLast((record) => record.branch === branch);
    if (!call) return undefined;
    const { action, reason, diff, threshold, visibleError } = call;
    return { action, reason, diff, threshold, ...(visibleError === undefined ? {} : { visibleError }) };
  }

  end(): void {
    // What a call under way works with is freed when it has come to its end.
    if (!this.running) for (const cache of this.caches) cache.clear();
    if (this.ended) return;
    this.ended = true;
    this.request.onEnd({ failed: this.failed });
  }

  private async run(inputs: PreparedInputs, context: CallContext): Promise<DeviceTensor> {
    const { model, loras } = this.request;
    const { spans = model.runner, signal } = context;
    const flow = new Flow(spans, { ...inputs, loras, signal }, this.blockFlops);
    this.running = true;
    try {
      if (this.ended) throw new DejaDitError('DISPOSED', 'this request has ended; begin a new session');
      throwIfAborted(signal);
      const sample = await this.compute(flow, inputs, context);
      this.peakBytes = Math.max(this.peakBytes, this.bytes);
      return sample;
    } catch (error) {
      // Half a step leaves counters and tensors that no later call can go on from.
      this.failed = true;
      this.end();
      throw error;
    } finally {
      this.running = false;
      flow.dispose();
      // What a call that was under way when the request ended still brought.
      if (this.ended) this.end();
    }
  }
}

export interface BlockSessionOptions extends CacheSessionOptions {
  sections: readonly Section[];
  /** One per group section, in order. */
  caches: readonly GroupCache[];
}

/** A request with a cache for every block group of the transformer. */
export class BlockCacheSession extends CacheSession {
  constructor(private readonly options: BlockSessionOptions) {
    super(options.caches, options);
  }

  protected async compute(flow: Flow, _: PreparedInputs, { branch, signal }: CallContext): Promise<DeviceTensor> {
    const { sections, caches } = this.options;
    const { definition } = this.model;
    flow.add(prologue(definition));
    let group = 0;
    for (const section of sections) {
      throwIfAborted(signal);
      if (section.kind === 'plain') flow.add(...section.pieces);
      else await caches[group++]!.forward(flow, branch);
    }
    flow.add(epilogue(definition));
    throwIfAborted(signal);
    return flow.keep((await flow.run()).sample!);
  }
}

/** A request with one cache around the whole transformer. */
export class EasyCacheSession extends CacheSession {
  private readonly cache: EasyCache;

  constructor(options: CacheSessionOptions & { cache: EasyCache }) {
    super([options.cache], options);
    this.cache = options.cache;
  }

  protected compute(flow: Flow, inputs: PreparedInputs, { branch }: CallContext): Promise<DeviceTensor> {
    return this.cache.forward(flow, inputs, branch);
  }
}
