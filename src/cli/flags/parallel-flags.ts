/** The flags of several ranks: cache-dit's names, or the sizes themselves. */
import { type Command, Option } from 'commander';
import { DejaDitError } from '../../errors/errors.ts';
import type { ParallelismOptions } from '../../parallel/config/parallelism-config.ts';
import { launchedBy } from '../../runtime/launched-by.ts';

export interface ParallelFlags {
  parallel?: string;
  ulyssesAnything?: boolean;
  ulyssesFloat8?: boolean;
  ulyssesAsync?: boolean;
  parallelVae?: boolean;
  parallelTextEncoder?: boolean;
  parallelText?: boolean;
  parallelControlnet?: boolean;
}

/** Adds the flags to a command. */
export function addParallelFlags(command: Command): Command {
  return command
    .optionsGroup('Several ranks:')
    .option(
      '--parallel <sizes>',
      'ulysses=2,ring=2,tp=2 in any combination, cfg=2; or for all ranks of a job of MPI: ulysses, ring, tp, usp, ulysses_tp, ring_tp, usp_tp',
    )
    .option('--ulysses-anything', 'deal out any number of tokens (which is done anyway)')
    .option(
      '--ulysses-float8',
      'send queries, values and results of attention in 8 bits: for links below half a Gbit/s',
    )
    .option('--ulysses-async', 'send queries, keys and values one by one, each as soon as it is there')
    .option('--parallel-vae', 'share tiles and pictures of the autoencoder out to the ranks')
    .option('--parallel-text-encoder', 'cut the weights of text encoders over the ranks')
    .addOption(new Option('--parallel-text').hideHelp())
    .option('--parallel-controlnet', 'compute the ControlNet on the ranks too')
    .optionsGroup('Options:');
}

/** cache-dit's types: which sizes a job's ranks make. Where there are two, the first is half of them. */
const types: Readonly<Record<string, readonly ('ulyssesSize' | 'ringSize' | 'tpSize')[]>> = {
  ulysses: ['ulyssesSize'],
  ring: ['ringSize'],
  tp: ['tpSize'],
  usp: ['ulyssesSize', 'ringSize'],
  ulysses_tp: ['ulyssesSize', 'tpSize'],
  tp_ulysses: ['tpSize', 'ulyssesSize'],
  ring_tp: ['ringSize', 'tpSize'],
  tp_ring: ['tpSize', 'ringSize'],
};

/**
 * @returns undefined on a single rank
 * @throws DejaDitError INVALID_ARGUMENT for flags without `--parallel`, or sizes that cannot be read
 */
export function parallelOptions(flags: ParallelFlags): ParallelismOptions | undefined {
  const { parallel, ulyssesAnything, ulyssesFloat8, ulyssesAsync, parallelVae, parallelControlnet } = flags;
  const parallelTextEncoder = flags.parallelTextEncoder ?? flags.parallelText;
  const extra = { parallelVae, parallelTextEncoder, parallelControlnet };
  const others = { ulyssesAnything, ulyssesFloat8, ulyssesAsync, ...extra };
  const given = Object.fromEntries(Object.entries(others).filter(([, value]) => value !== undefined));
  const job = launchedBy();
  if (parallel !== undefined) return { ...sizesOf(parallel, job?.size), ...given };
  // Whoever starts several processes wants them to work together.
  if (job && job.size !== 1) return { ulyssesSize: 'auto', ...given };
  const [idle] = Object.keys(given);
  if (idle === undefined) return undefined;
  const flag = idle.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new DejaDitError('INVALID_ARGUMENT', `--${flag} has no effect without --parallel`);
}

function sizesOf(text: string, ranks: number | undefined): ParallelismOptions {
  const wrong = (reason: string) => new DejaDitError('INVALID_ARGUMENT', reason, { path: '--parallel' });
  if (!text.includes('=')) {
    if (text === 'usp_tp') return { ulyssesSize: 2, ringSize: 2, tpSize: 2 };
    const axes = types[text];
    if (!axes)
      throw wrong(
        `'${text}' is neither a type (${Object.keys(types).join(', ')}, usp_tp) nor sizes as in ulysses=2,tp=2`,
      );
    if (ranks === undefined)
      throw wrong(`'${text}' is for the ranks of a job of MPI; here say how many: ulysses=2,tp=2`);
    const [first, second] = axes;
    return second ? { [first!]: Math.floor(ranks / 2), [second]: 'auto' } : { [first!]: 'auto' };
  }
  return Object.fromEntries(
    text.split(',').map((part) => {
      const [, name, count] = /^(ulysses|ring|tp|cfg)=(\d+|auto)$/.exec(part.trim()) ?? [];
      if (name === undefined) throw wrong(`cannot read '${part}', expected ulysses, ring, tp or cfg, = and a number`);
      return [`${name}Size`, count === 'auto' ? count : Number(count)];
    }),
  );
}
