/** The flags that limit memory. */
import type { Command } from 'commander';
import { byteSize } from './numbers.ts';

export interface MemoryFlags {
  maxMemory?: number;
  maxProgramMemory?: number;
}

/** Adds the flags to a command. */
export function addMemoryFlags(command: Command): Command {
  return command
    .optionsGroup('Memory:')
    .option(
      '--max-memory <size>',
      'what a request may need besides the weights: 512MiB, 4GiB (default: what the machine has)',
      byteSize,
    )
    .option('--max-program-memory <size>', 'what compiled programs may take together (default: 1GiB)', byteSize)
    .optionsGroup('Options:');
}

/** For loading, and for each request. */
export function memoryOptions({ maxMemory, maxProgramMemory }: MemoryFlags): {
  load: { maxProgramBytes: number | undefined };
  request: { maxMemory: number | undefined };
} {
  return { load: { maxProgramBytes: maxProgramMemory }, request: { maxMemory } };
}
