/**
 * A range of blocks that every step either computes or forecasts, and the probe by which that is decided. DBCache has one range
 * for its middle blocks, DBPrune one for every block. Which of the two a step does is the caller's decision (`decide.ts`,
 * `dbprune.ts`), how remembered tensors are weighted is the forecasters'; here tensors meet both.
 */
import type { Piece } from '../../models/pieces.ts';
import type { Backend } from '../../runtime/backend.ts';
import { dims, floatTensor } from '../../tensor/tensor.ts';
import type { DBCacheConfig } from '../config/cache-config.ts';
import type { CalibratorConfig } from '../config/calibrator-config.ts';
import { ERROR_PROBES, visibleError } from '../decide/error-budget.ts';
import type { Decision } from '../decide/gates.ts';
import type { Resolved } from '../decide/resolved-config.ts';
import { createForecaster } from '../forecasters/create.ts';
import { type Forecaster, reuse as plainReuse } from '../forecasters/forecaster.ts';
import type { Gram } from '../forecasters/gram.ts';
import type { Flow, Outputs } from './flow.ts';
import { BranchMemory, type Limits, type Stream } from './memory.ts';
import { middle, probe, reuse, type StreamReuse } from './pieces.ts';

export interface CachedRangeOptions {
  /** Blocks before the range that run on every step; the probe is what they add. None: the range's own input. */
  first: readonly Piece[];
  /** The range. */
  blocks: readonly Piece[];
  config: Resolved<DBCacheConfig>;
  calibratorConfig: CalibratorConfig | null;
  backend: Backend;
}

export interface RangeCall {
  branch: string;
  step: number;
  /** The decision as far as it takes no number from the device. */
  early(args: { shapeChanged: boolean }): Decision | undefined;
  /** The decision by how far the probe has moved since the last computed step. */
  byDiff(diff: number): Decision;
}

/** A decision, and what the forecaster did instead of what its name promises. */
export type RangeDecision = Decision & { note?: string };

export class CachedRange {
  private readonly memories = new Map<string, BranchMemory>();
  private readonly forecasters: Readonly<Record<Stream, Forecaster>>;
  private readonly remembers: 'residual' | 'hidden_states';
  private readonly needsProbe: boolean;
  private readonly limits: Limits;

  constructor(private readonly options: CachedRangeOptions) {
    const { calibratorConfig: calibrator, config } = options;
    const forecaster = createForecaster(calibrator, config.semantics.taylorLag);
    const hidden = calibrator?.enableCalibrator ? forecaster : plainReuse;
    const encoder = calibrator?.enableEncoderCalibrator ? forecaster : plainReuse;
    this.forecasters = { hidden, encoder };
    this.needsProbe = Boolean(hidden.needs.probe ?? encoder.needs.probe);
    this.remembers = calibrator?.enableCalibrator ? calibrator.calibratorCacheType : 'residual';
    const [hiddenLimit, encoderLimit] = [hidden.historySize, encoder.historySize];
    this.limits = {
      hidden: encoder.needs.residual ? Math.max(hiddenLimit, encoderLimit) : hiddenLimit,
      encoder: encoderLimit,
      probe: Math.max(
        this.needsProbe ? forecaster.historySize : 1,
        config.rule.kind === 'error_budget' ? ERROR_PROBES : 1,
      ),
    };
  }

  /** Bytes of the tensors remembered now, all branches together. */
  get bytes(): number {
    let total = 0;
    for (const memory of this.memories.values()) total += memory.bytes;
    return total;
  }

  /** Adds the range's share of a call to the flow. Runs what has been collected only if a number is needed. */
  async forward(flow: Flow, call: RangeCall): Promise<RangeDecision> {
    const memory = this.memoryOf(call.branch);
    const shapeChanged = !memory.isEmpty && memory.shapes !== flow.shapes;
    memory.shapes = flow.shapes;

    const early = call.early({ shapeChanged });
    if (shapeChanged && early?.action === 'compute') memory.clear();
    const byError = this.options.config.rule.kind === 'error_budget';
    const measure = early === undefined && !memory.isEmpty && !byError;
    const wanted = (byError && early === undefined) || (this.needsProbe && early?.action !== 'compute');
    const gram = wanted && !memory.isEmpty;
    const probeId = this.probe(flow, memory, { measure, gram });
    let ran: Outputs | undefined;
    let decision = early;
    if (!decision || (decision.action === 'reuse' && gram)) {
      ran = await flow.run();
    }
    const probeGram = ran && gram ? await this.matrices(ran, `${probeId}.gram`) : undefined;
    if (!decision) {
      const error = byError ? this.visibleError(memory, { target: call.step, probeGram: probeGram! }) : undefined;
      decision = call.byDiff(error ?? (await this.scalar(ran!, `${probeId}.diff`)));
    }
    if (decision.action === 'compute') {
      this.compute(flow, memory, { step: call.step, probeId, ran });
      return decision;
    }
    const note = this.reuse(flow, memory, { target: call.step, probeGram });
    return note === undefined ? decision : { ...decision, note };
  }

  clear(): void {
    for (const memory of this.memories.values()) memory.clear();
  }

  private memoryOf(branch: string): BranchMemory {
    let memory = this.memories.get(branch);
    if (!memory) {
      memory = new BranchMemory(this.limits);
      this.memories.set(branch, memory);
    }
    return memory;
  }

  /** The first blocks with whatever has to be measured on them. */
  private probe(flow: Flow, memory: BranchMemory, ask: { measure: boolean; gram: boolean }): string {
    const { config, first } = this.options;
    const id = flow.newId();
    flow.add(
      probe({
        id,
        pieces: first,
        measure: ask.measure,
        snapshots: ask.gram ? memory.probe.length : 0,
        hiddenStates: first.length === 0 || config.l1HiddenStatesDiffThreshold !== null,
        downsample: config.downsampleFactor,
        importantTokens: config.importantConditionThreshold,
      }),
    );
    if (ask.measure) flow.give({ [`${id}.previous`]: memory.probe[0]! });
    if (ask.gram) for (const [i, tensor] of memory.probe.entries()) flow.give({ [`${id}.probe${i}`]: tensor });
    return id;
  }

  /** @param probed `ran`: outputs of the probe, where it has run already */
  private compute(
    flow: Flow,
    memory: BranchMemory,
    probed: { step: number; probeId: string; ran: Outputs | undefined },
  ): void {
    const { hidden, encoder } = this.forecasters;
    const needsGram = hidden.needs.residual || encoder.needs.residual;
    const older = needsGram ? Math.min(memory.hidden.length, this.limits.hidden - 1) : 0;
    const id = flow.newId();
    const { blocks: pieces, config, calibratorConfig } = this.options;
    const encoderToTheEnd = config.semantics.encoderToTheEnd && Boolean(calibratorConfig?.enableEncoderCalibrator);
    flow.add(middle({ id, pieces, remember: this.remembers, snapshots: older, encoderToTheEnd }));
    for (let i = 0; i < older; i++) flow.give({ [`${id}.hidden${i}`]: memory.hidden[i]! });
    flow.onOutputs(async (outputs) => {
      const encoder = outputs[`${id}.encoder`];
      memory.add({
        step: probed.step,
        probe: flow.keep((probed.ran ?? outputs)[`${probed.probeId}.probe`]!),
        hidden: flow.keep(outputs[`${id}.hidden`]!),
        encoder: encoder && flow.keep(encoder),
      });
      if (older > 0) memory.residualGram = await this.matrices(outputs, `${id}.residualGram`);
    });
  }

  /** @returns the forecasters' notes */
  private reuse(
    flow: Flow,
    memory: BranchMemory,
    args: { target: number; probeGram: Gram[] | undefined },
  ): string | undefined {
    const id = flow.newId();
    const hidden = this.forecast('hidden', { ...args, id, flow, memory });
    const encoder = memory.encoder.length > 0 ? this.forecast('encoder', { ...args, id, flow, memory }) : undefined;
    flow.add(reuse({ id, remember: this.remembers, hidden: hidden.reuse, encoder: encoder?.reuse }));
    return hidden.note ?? encoder?.note;
  }

  /** Hands the flow the tensors and weights of one stream's forecast. */
  private forecast(
    stream: Stream,
    args: { id: string; flow: Flow; memory: BranchMemory; target: number; probeGram: Gram[] | undefined },
  ): { reuse: StreamReuse; note: string | undefined } {
    const { id, flow, memory, target, probeGram } = args;
    const forecaster = this.forecasters[stream];
    const tensors = memory[stream].slice(0, forecaster.historySize);
    const input = { positions: memory.steps.slice(0, tensors.length), first: memory.first!, target };
    const residualGram = forecaster.needs.residual ? memory.residualGram : undefined;
    const batch = tensors[0]!.shape[0]!;
    const forecasts = Array.from({ length: batch }, (_, b) =>
      forecaster.forecast({ ...input, probe: probeGram?.[b], residual: residualGram?.[b] }),
    );
    const weights = forecasts.map((forecast) => forecast.weights);
    const note = forecasts.find((forecast) => forecast.note !== undefined)?.note;
    const used = tensors.map((_, i) => i).filter((i) => weights.some((row) => row[i] !== 0));
    for (const [at, i] of used.entries()) flow.give({ [`${id}.${stream}${at}`]: tensors[i]! });
    if (used.length === 1 && used[0] === 0 && weights.every((row) => row[0] === 1))
      return { reuse: { count: 1, weighted: false }, note };
    const table = Float32Array.from(weights.flatMap((row) => used.map((i) => row[i]!)));
    const { backend } = this.options;
    flow.giveAway({ [`${id}.${stream}Weights`]: backend.upload(floatTensor(table, [batch, used.length])) });
    return { reuse: { count: used.length, weighted: true }, note };
  }

  /** Mean over the batch. */
  private visibleError(memory: BranchMemory, args: { target: number; probeGram: Gram[] }): number {
    const { target, probeGram } = args;
    const about = { positions: memory.steps, first: memory.first!, target };
    return probeGram.reduce((sum, probe) => sum + visibleError({ ...about, probe }), 0) / probeGram.length;
  }

  private async scalar(outputs: Outputs, name: string): Promise<number> {
    return (await this.options.backend.download(outputs[name]!)).data[0] as number;
  }

  private async matrices(outputs: Outputs, name: string): Promise<Gram[]> {
    const { data, shape } = await this.options.backend.download(outputs[name]!);
    const [batch, size] = dims({ shape }, 3);
    return Array.from({ length: batch }, (_, b) =>
      Array.from({ length: size }, (_, i) =>
        Array.from({ length: size }, (_, j) => data[(b * size + i) * size + j] as number),
      ),
    );
  }
}
