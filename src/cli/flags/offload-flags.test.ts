/** The flags of `layerwiseOffload`, from a command line to options. */
import { Command } from 'commander';
import { expect, it } from 'vitest';
import { addOffloadFlags, type OffloadFlags, offloadOptions } from './offload-flags.ts';

const parse = (...flags: string[]) => {
  const command = addOffloadFlags(new Command())
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  return offloadOptions(command.parse(flags, { from: 'user' }).opts<OffloadFlags>());
};

it('set the options of the same names', () => {
  expect(parse()).toBeUndefined();
  expect(parse('--layerwise-offload')).toEqual({});
  const all = ['--layerwise-offload', '--layerwise-transfer-buckets', '4', '--layerwise-prefetch-limit', '0'];
  const kept = ['--layerwise-persistent-buckets', '16', '--layerwise-persistent-bins', '4'];
  expect(parse(...all, ...kept, '--layerwise-max-inflight-prefetch-bytes', '4GiB')).toEqual({
    transferBuckets: 4,
    prefetchLimit: 0,
    maxInflightPrefetchBytes: '4GiB',
    persistentBuckets: 16,
    persistentBins: 4,
  });
});

it('have no effect without the first, and say so', () => {
  expect(() => parse('--layerwise-persistent-bins', '4')).toThrow(
    '--layerwise-persistent-bins has no effect without --layerwise-offload',
  );
  expect(() => parse('--layerwise-offload', '--layerwise-transfer-buckets', '1.5')).toThrow('an integer');
});
