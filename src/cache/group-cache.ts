/**
 * DBCache (cache-dit) on one block group during one request: runs the first F blocks, decides, runs or forecasts the middle,
 * runs the last B. The decision itself is `decide.ts`, the forecast's weights are `forecasters/`; here tensors meet both.
 */
import type { Backend } from '../runtime/backend.ts';
import { floatTensor } from '../tensor/tensor.ts';
import type { BlockGroup } from './block-group.ts';
import type { CalibratorConfig } from './calibrator-config.ts';
import type { DBCacheConfig, Resolved } from './config.ts';
import { type Decision, decideByDiff, preDecide } from './decide.ts';
import type { Flow, Outputs } from './flow.ts';
import { createForecaster } from './forecasters/create.ts';
import { type Forecaster, reuse as plainReuse } from './forecasters/forecaster.ts';
import type { Gram } from './forecasters/gram.ts';
import { BranchMemory } from './memory.ts';
import { middle, probe, reuse, type StreamReuse } from './pieces.ts';
import { beginStep, type CacheState, newCacheState } from './state.ts';
import type { CallRecord } from './stats.ts';

export interface GroupCacheOptions {
  group: BlockGroup;
  /** Prefix of this group's tensors in spans. */
  id: string;
  config: Resolved<DBCacheConfig>;
  calibratorConfig: CalibratorConfig | null;
  backend: Backend;
}

export class GroupCache {
  readonly state: CacheState = newCacheState();
  readonly calls: CallRecord[] = [];
  private readonly memories = new Map<string, BranchMemory>();
  private readonly hidden: Forecaster;
  private readonly encoder: Forecaster;
  private readonly snapshots: number;
  private readonly remember: 'residual' | 'hidden_states';

  constructor(readonly options: GroupCacheOptions) {
    const { calibratorConfig, config } = options;
    const forecaster = createForecaster(calibratorConfig, config.compat);
    this.hidden = calibratorConfig?.enableCalibrator ? forecaster : plainReuse;
    this.encoder = calibratorConfig?.enableEncoderCalibrator ? forecaster : plainReuse;
    this.snapshots = Math.max(this.hidden.historySize, this.encoder.historySize);
    this.remember = calibratorConfig?.enableCalibrator ? calibratorConfig.calibratorCacheType : 'residual';
  }

  /** Bytes of the tensors remembered now, all branches together. */
  get bytes(): number {
    let total = 0;
    for (const memory of this.memories.values()) total += memory.bytes;
    return total;
  }

  /** Adds this group's share of a call to the flow. Runs what has been collected only if the decision needs a number. */
  async forward(flow: Flow, branch: string | undefined): Promise<void> {
    const { config, group } = this.options;
    if (beginStep({ state: this.state, config, branch }) !== undefined) this.clear();
    const memory = this.memoryOf(this.state.current.branch);
    const shapeChanged = memory.newest !== undefined && memory.shapes !== flow.shapes;
    if (shapeChanged && !config.compat) memory.clear();
    memory.shapes = flow.shapes;

    flow.add(group.enter);
    const early = preDecide({ state: this.state, config, shapeChanged });
    const first = this.first(flow, memory, { measure: early === undefined, gram: early?.action !== 'compute' });
    let decision = early;
    let outputs: Outputs | undefined;
    if (!decision || (decision.action === 'reuse' && first.gram)) {
      outputs = await flow.run();
      decision ??= decideByDiff({ state: this.state, config, diff: await this.scalar(outputs, 'diff') });
    }
    this.calls.push({ ...decision, step: this.state.current.step, branch: this.state.current.branch });
    if (decision.action === 'reuse') await this.reuse(flow, memory, outputs);
    else this.compute(flow, memory, outputs);

    const { bnComputeBlocks: last } = config;
    flow.add(...group.range(group.count - last, group.count), group.leave);
  }

  clear(): void {
    for (const memory of this.memories.values()) memory.clear();
  }

  private memoryOf(branch: string): BranchMemory {
    let memory = this.memories.get(branch);
    if (!memory) {
      memory = new BranchMemory();
      this.memories.set(branch, memory);
    }
    return memory;
  }

  /** The first blocks with whatever has to be measured on them. */
  private first(flow: Flow, memory: BranchMemory, ask: { measure: boolean; gram: boolean }): { gram: boolean } {
    const { config, group, id } = this.options;
    const measure = ask.measure && memory.newest !== undefined;
    const gram = ask.gram && Boolean(this.hidden.needs.probe) && memory.newest !== undefined;
    flow.add(
      probe({
        id,
        pieces: group.range(0, config.fnComputeBlocks),
        measure,
        snapshots: gram ? memory.snapshots.length : 0,
        hiddenStates: config.l1HiddenStatesDiffThreshold !== null,
        downsample: config.downsampleFactor,
        importantTokens: config.importantConditionThreshold,
      }),
    );
    if (measure) flow.give({ [`${id}.previous`]: memory.newest!.probe });
    if (gram)
      for (const [i, snapshot] of memory.snapshots.entries()) flow.give({ [`${id}.probe${i}`]: snapshot.probe });
    return { gram };
  }

  /** @param ran outputs of the first blocks, where they have run already */
  private compute(flow: Flow, memory: BranchMemory, ran: Outputs | undefined): void {
    const { config, group, id } = this.options;
    const { fnComputeBlocks: first, bnComputeBlocks: last } = config;
    const { step } = this.state.current;
    // cache-dit lets the first and last blocks overlap and leaves nothing in the middle.
    const pieces = group.range(first, Math.max(first, group.count - last));
    const remembered = this.hidden.needs.residual ? Math.min(memory.snapshots.length, this.snapshots - 1) : 0;
    flow.add(middle({ id, pieces, remember: this.remember, snapshots: remembered }));
    for (let i = 0; i < remembered; i++) flow.give({ [`${id}.hidden${i}`]: memory.snapshots[i]!.hidden });
    flow.onOutputs(async (outputs) => {
      const probeOf = (ran ?? outputs)[`${id}.probe`]!;
      memory.add(
        { step, probe: probeOf, hidden: outputs[`${id}.hidden`]!, encoder: outputs[`${id}.encoder`] },
        this.snapshots,
      );
      if (remembered > 0) memory.residualGram = await this.matrices(outputs, 'residualGram');
    });
  }

  private async reuse(flow: Flow, memory: BranchMemory, outputs: Outputs | undefined): Promise<void> {
    const { id } = this.options;
    const probeGram = outputs?.[`${id}.gram`] ? await this.matrices(outputs, 'gram') : undefined;
    const hidden = this.forecast('hidden', { flow, memory, probeGram });
    const encoder = memory.newest!.encoder ? this.forecast('encoder', { flow, memory, probeGram }) : undefined;
    flow.add(reuse({ id, remember: this.remember, hidden, encoder }));
  }

  /** Hands the flow the tensors and weights of one stream's forecast. */
  private forecast(
    stream: 'hidden' | 'encoder',
    { flow, memory, probeGram }: { flow: Flow; memory: BranchMemory; probeGram: Gram[] | undefined },
  ): StreamReuse {
    const { id, backend } = this.options;
    const forecaster = this[stream];
    const snapshots = memory.snapshots.slice(0, forecaster.historySize);
    const input = {
      positions: snapshots.map(({ step }) => step),
      first: memory.first!,
      target: this.state.current.step,
    };
    const batch = Math.max(probeGram?.length ?? 1, forecaster.needs.residual ? (memory.residualGram?.length ?? 1) : 1);
    const weights = Array.from({ length: batch }, (_, b) => {
      return forecaster.forecast({ ...input, probe: probeGram?.[b], residual: memory.residualGram?.[b] }).weights;
    });
    const used = snapshots.map((_, i) => i).filter((i) => weights.some((row) => row[i] !== 0));
    for (const [at, i] of used.entries()) flow.give({ [`${id}.${stream}${at}`]: snapshots[i]![stream]! });
    if (used.length === 1 && used[0] === 0 && weights.every((row) => row[0] === 1))
      return { count: 1, weighted: false };
    const table = Float32Array.from(weights.flatMap((row) => used.map((i) => row[i]!)));
    flow.give({ [`${id}.${stream}Weights`]: backend.upload(floatTensor(table, [batch, used.length])) });
    return { count: used.length, weighted: true };
  }

  private async scalar(outputs: Outputs, name: string): Promise<number> {
    const { id, backend } = this.options;
    return (await backend.download(outputs[`${id}.${name}`]!)).data[0] as number;
  }

  private async matrices(outputs: Outputs, name: string): Promise<Gram[]> {
    const { id, backend } = this.options;
    const { data, shape } = await backend.download(outputs[`${id}.${name}`]!);
    const [batch, size] = shape as [number, number];
    return Array.from({ length: batch }, (_, b) =>
      Array.from({ length: size }, (_, i) =>
        Array.from({ length: size }, (_, j) => data[(b * size + i) * size + j] as number),
      ),
    );
  }

  /** The last decision of a branch. */
  lastCall(branch: string): Decision | undefined {
    return this.calls.findLast((call) => call.branch === branch);
  }
}
