/**
 * What settings mean, where there are two readings: ours, and `compat: 'cache-dit'`, cache-dit 1.3.5 with its known defects. One of the
 * two is chosen when a config is resolved for a request; whatever decides or runs asks it and never looks at `compat`.
 */
import type { CacheConfig } from '../config/cache-config.ts';
import { cacheDit } from './cache-dit.ts';
import type { Decision, GateInput } from './gates.ts';
import { ours } from './ours.ts';
import type { BeginStep, BranchState, Refresh } from './state.ts';

export interface Semantics {
  /** Steps after which a request begins anew, of those the pipeline tells; null: calls are counted by the config alone. */
  requestSteps(told: number | null): number | null;
  /** Counts a call and starts afresh where that is due, see `beginStep`. */
  beginStep(args: BeginStep): Refresh | undefined;

  /** Whether there is something to re-use, as the gates see it. */
  canReuse(input: GateInput): boolean;
  /** A step that a static mask does not say to compute. */
  byStaticMask(input: GateInput): Decision;
  /** What is decided by the threshold alone; undefined: by the diff. */
  byThresholdAlone(input: GateInput): Decision | undefined;
  /** Whether the branch goes by diffs that another one has measured, where they are shared. */
  takesSharedDiffs(branch: string): boolean;

  /** The limit of re-used steps in a row has struck. */
  onRunLimit(branch: BranchState): void;
  onComputed(branch: BranchState): void;
  /** What one more re-used step adds to those in a row. */
  runIncrement(branch: BranchState, step: number): number;

  readonly pruning: PruningSemantics;
  /** First and last blocks may overlap. */
  readonly overlap: boolean;
  /** Forecasting the encoder stream fails on a range whose last block drops it. */
  readonly encoderToTheEnd: boolean;
  /** Steps after the first computed one up to which Taylor forms no difference. */
  readonly taylorLag: number;
}

/** The same for block pruning. */
export interface PruningSemantics {
  /** @throws DejaDitError UNSUPPORTED for blocks of a forward pattern that cannot be pruned */
  assertPattern(pattern: number): void;
  /** The branch whose diffs shape the relaxed threshold. */
  thresholdBranch(current: string): string;
  /** What another branch has measured on a block in this step. */
  sharedDiff(diffs: Readonly<Record<number, number>>, block: number): number | undefined;
  /** Diffs of a block count towards the accumulated limit. */
  readonly accumulates: boolean;
  /** A block has been pruned. */
  onBlock(branch: BranchState, step: number): void;
  /** All blocks of a call have been decided. */
  onCall(branch: BranchState, step: number): void;
}

export const semanticsOf = ({ compat }: Pick<CacheConfig, 'compat'>): Semantics =>
  compat === 'cache-dit' ? cacheDit : ours;
