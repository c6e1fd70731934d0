/** What ranks do in tests of failure, each on its group. What they throw is what the test looks at. */
import type { Collective } from '../collective.ts';
import { conform } from './conformance.ts';

const four = () => new Float32Array(4);
const isLast = ({ rank, size }: Collective) => rank === size - 1;
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export const scenarios = {
  conform,

  /** The last rank sums more elements than the others. */
  async disagree(group: Collective) {
    await group.allReduce(isLast(group) ? new Float32Array(5) : four());
  },

  /** The last rank makes another call. */
  async stray(group: Collective) {
    await (isLast(group) ? group.barrier() : group.allReduce(four()));
  },

  /** The last rank sends one element more than the others expect. */
  async excess(group: Collective) {
    const { size } = group;
    const sendCounts = new Array<number>(size).fill(isLast(group) ? 2 : 1);
    const [send, receive] = [new Int32Array(isLast(group) ? 2 * size : size), new Int32Array(size)];
    if (isLast(group)) await group.allToAll({ send, receive: new Int32Array(size), sendCounts });
    else await group.allToAll({ send, receive });
  },

  /** The last rank gives up while the others wait for it. */
  async giveUp(group: Collective) {
    if (isLast(group)) await group.abort(new Error('no memory left'));
    await group.barrier();
  },

  /** The last rank's caller aborts its call. */
  async signal(group: Collective) {
    if (isLast(group)) {
      const half = await group.split({ color: 1 });
      await half.barrier();
      const controller = new AbortController();
      setTimeout(() => controller.abort(), 100);
      await group.barrier({ signal: controller.signal });
    } else {
      await group.split({ color: 0 });
      await sleep(200);
      await group.allReduce(four());
    }
  },

  /** The last rank does not come. */
  async hang(group: Collective) {
    if (isLast(group)) await sleep(1500);
    await group.barrier({ deadline: 500 });
  },

  /** The last rank closes its group while the others wait for it. */
  async leave(group: Collective) {
    if (isLast(group)) await group.close();
    else await group.barrier();
  },

  /** The last rank ends without a word. */
  async die(group: Collective) {
    await group.barrier();
    if (isLast(group)) process.exit(3);
    await group.barrier();
  },

  /** The last rank's process is killed. */
  async killed(group: Collective) {
    await group.barrier();
    if (isLast(group)) process.kill(process.pid, 'SIGKILL');
    await group.barrier();
  },

  /** The last rank's process is stopped. */
  async stopped(group: Collective) {
    await group.barrier();
    if (isLast(group)) process.kill(process.pid, 'SIGSTOP');
    await group.barrier();
  },

  /** The last rank is killed while the others compute and cannot be told. */
  async deaf(group: Collective) {
    await group.barrier();
    if (isLast(group)) process.kill(process.pid, 'SIGKILL');
    const begin = performance.now();
    while (performance.now() - begin < 10_000);
  },
} satisfies Record<string, (group: Collective) => Promise<void>>;

export type Scenario = keyof typeof scenarios;

/** How a scenario ended on one rank. */
export interface Outcome {
  rank: number;
  /** Without it all went well. */
  error?: { code?: string; message: string };
  milliseconds: number;
}

export async function play(scenario: Scenario, group: Collective): Promise<Outcome> {
  const begin = performance.now();
  const outcome = (error?: Outcome['error']) => ({
    rank: group.rank,
    error,
    milliseconds: performance.now() - begin,
  });
  try {
    await scenarios[scenario](group);
    return outcome();
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return outcome({ code, message });
  }
}
