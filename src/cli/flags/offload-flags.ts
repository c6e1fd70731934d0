/** The flags of `layerwiseOffload`, under cache-dit's names. */
import type { Command } from 'commander';
import { DejaDitError } from '../../errors/errors.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { OffloadOptions } from '../../weights/offload/options.ts';
import { bytes, milliseconds } from '../output/format.ts';
import { integer } from './numbers.ts';

export interface OffloadFlags {
  layerwiseOffload?: boolean;
  layerwiseTextOffload?: boolean;
  layerwiseTransferBuckets?: number;
  layerwisePrefetchLimit?: number;
  layerwiseMaxInflightPrefetchBytes?: string;
  layerwisePersistentBuckets?: number;
  layerwisePersistentBins?: number;
}

/** Adds the flags to a command. */
export function addOffloadFlags(command: Command): Command {
  return command
    .optionsGroup('Models larger than memory:')
    .option('--layerwise-offload', "read the transformer's blocks from the files while others are computed")
    .option('--layerwise-text-offload', 'the same for the text encoders')
    .option('--layerwise-transfer-buckets <n>', 'blocks that are read together (default: 1)', integer({ min: 0 }))
    .option(
      '--layerwise-prefetch-limit <n>',
      'of these buckets, how many are read ahead (default: 1)',
      integer({ min: 0 }),
    )
    .option('--layerwise-max-inflight-prefetch-bytes <size>', 'or as many as fit in this: 512MiB, 4GiB')
    .option('--layerwise-persistent-buckets <n>', 'buckets that stay in memory (default: 0)', integer({ min: 0 }))
    .option(
      '--layerwise-persistent-bins <n>',
      'parts of the model over which these are spread (default: 1)',
      integer({ min: 0 }),
    )
    .optionsGroup('Options:');
}

/** @throws DejaDitError INVALID_ARGUMENT for flags without `--layerwise-offload` */
export function offloadOptions(flags: OffloadFlags): OffloadOptions | undefined {
  const options = {
    transferBuckets: flags.layerwiseTransferBuckets,
    prefetchLimit: flags.layerwisePrefetchLimit,
    maxInflightPrefetchBytes: flags.layerwiseMaxInflightPrefetchBytes,
    persistentBuckets: flags.layerwisePersistentBuckets,
    persistentBins: flags.layerwisePersistentBins,
  };
  if (flags.layerwiseOffload) return options;
  const [idle] = Object.entries(options).find(([, value]) => value !== undefined) ?? [];
  if (idle === undefined) return undefined;
  const flag = idle.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new DejaDitError('INVALID_ARGUMENT', `--layerwise-${flag} has no effect without --layerwise-offload`);
}

/** What offloading did, a line for each model. */
export function summarizeOffload(models: Readonly<Record<string, Pick<TransformerModel, 'offloadSummary'>>>): string[] {
  return Object.entries(models).flatMap(([name, { offloadSummary: found }]) => {
    if (!found) return [];
    const { targets, buckets, persistentBuckets, residentBytes, bufferBytes, bytesRead, waitTime } = found;
    return [
      `${name}: ${targets} blocks in ${buckets} buckets, ${persistentBuckets} of them kept; ${bytes(residentBytes + bufferBytes)} in memory, ` +
        `${bytes(bytesRead)} read, ${milliseconds(waitTime)} waited for reads`,
    ];
  });
}
