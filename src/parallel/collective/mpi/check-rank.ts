/** A rank that says which library it speaks through, for `check.ts`. */
import { greeting } from './check.ts';
import { joinMpi } from './join-mpi.ts';

try {
  const group = await joinMpi({ deadline: 20_000 });
  const sum = Float32Array.of(1);
  await group.allReduce(sum);
  if (sum[0] !== 2) throw new Error(`${group.transport}: two ranks make ${sum[0]}`);
  if (group.rank === 0) console.log(`${greeting}${group.transport}`);
  await group.close();
} catch (error) {
  console.error(`deja-dit: ${(error as Error).message}`);
  process.exitCode = 1;
}
