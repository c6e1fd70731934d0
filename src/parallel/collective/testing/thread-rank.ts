/** One rank in a thread of its own, which plays a scenario and tells how it ended. Bundled by the test that starts it. */
import { parentPort, workerData } from 'node:worker_threads';
import { joinThreads, type ThreadSeat } from '../threads/seats.ts';
import { play, type Scenario } from './scenarios.ts';

const { seat, scenario } = workerData as { seat: ThreadSeat; scenario: Scenario };
const group = joinThreads(seat);
parentPort!.postMessage(await play(scenario, group));
await group.close();
