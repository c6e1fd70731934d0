/** How much memory there is. */
import os from 'node:os';

/** Bytes of the machine, or what a container leaves of it. */
export function machineMemory(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, os.totalmem()) : os.totalmem();
}
