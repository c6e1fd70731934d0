/**
 * One rank in a process of its own, started by MPI's launcher: plays a scenario and prints how it ended. With the module of the command
 * line's supervisor as third argument it runs under that, as the commands do. Bundled by the test.
 */
import type * as joining from '../mpi/join-mpi.ts';
import { play, type Scenario } from './scenarios.ts';

const [module, scenario, supervisor] = process.argv.slice(2) as [string, Scenario, string?];
if (supervisor && !process.send) {
  const { supervise } = (await import(supervisor)) as { supervise(program: URL): void };
  supervise(new URL(import.meta.url));
} else {
  await rank();
}

async function rank() {
  const { joinMpi }: typeof joining = await import(module);
  const group = await joinMpi();
  const outcome = await play(scenario, group);
  process.stdout.write(`${JSON.stringify({ ...outcome, transport: group.transport })}\n`);
  if (outcome.error) process.exitCode = 1;
  await group.close();
}
