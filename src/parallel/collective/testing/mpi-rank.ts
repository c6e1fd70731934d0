/** One rank in a process of its own, started by MPI's launcher: plays a scenario and prints how it ended. Bundled by the test. */
import type * as joining from '../mpi/join-mpi.ts';
import { play, type Scenario } from './scenarios.ts';

const [module, scenario] = process.argv.slice(2) as [string, Scenario];
const { joinMpi }: typeof joining = await import(module);
const group = await joinMpi();
process.stdout.write(`${JSON.stringify({ ...(await play(scenario, group)), transport: group.transport })}\n`);
await group.close();
