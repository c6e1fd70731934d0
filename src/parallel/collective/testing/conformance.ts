/**
 * What every transport must do, as a program that each rank runs on its group, of whatever size. Expected values are computed from what
 * every rank knows of the others.
 */
import assert from 'node:assert/strict';
import type { TypedArray } from '../../../tensor/dtype.ts';
import { bytesOf } from '../arrays.ts';
import type { Collective } from '../collective.ts';
import { allToAllFloat8 } from '../float8.ts';

type Case = (group: Collective) => Promise<void>;

/** Element `i` of rank `rank`'s data: sums of these depend on the order in which they are taken. */
const element = (rank: number, i: number) => Math.fround(Math.sin(1 + i * 0.37 + rank * 1.1) * 10 ** ((i + rank) % 3));
const data = (rank: number, length: number) => Float32Array.from({ length }, (_, i) => element(rank, i));
const ranksOf = ({ size }: Collective) => Array.from({ length: size }, (_, rank) => rank);
const next = ({ rank, size }: Collective) => (rank + 1) % size;
const previous = ({ rank, size }: Collective) => (rank + size - 1) % size;
const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
/** Uneven, and with a rank that has nothing. */
const uneven = (group: Collective) => ranksOf(group).map((rank) => (rank === 1 ? 0 : 3 + 2 * rank));

/** Sums of some hundreds, in whatever order. */
function assertClose(actual: Float32Array, expected: (i: number) => number): void {
  const wrong = actual.findIndex((value, i) => !(Math.abs(value - expected(i)) < 5e-4));
  if (wrong >= 0) assert.fail(`element ${wrong}: ${actual[wrong]}, not ${expected(wrong)}`);
}

function assertSameBits(actual: Float32Array, expected: Float32Array, what: string): void {
  assert.ok(Buffer.compare(bytesOf(actual), bytesOf(expected)) === 0, what);
}

export const cases: Record<string, Case> = {
  async 'sums in place, equal in every bit on all ranks and each time'(group) {
    for (const length of [1, 7, 4097, 100_001]) {
      const first = data(group.rank, length);
      await group.allReduce(first);
      assertClose(first, (i) => sum(ranksOf(group).map((rank) => element(rank, i))));
      const all = new Float32Array(length * group.size);
      await group.allGather({ send: first, receive: all });
      for (const rank of ranksOf(group))
        assertSameBits(all.subarray(rank * length, (rank + 1) * length), first, `rank ${rank} has another sum`);
      const second = data(group.rank, length);
      await group.allReduce(second);
      assertSameBits(second, first, 'another sum the second time');
    }
  },

  async 'takes the greatest, of every type that can be summed'(group) {
    const expected = group.size - 1;
    for (const array of [Float32Array.of(group.rank, -group.rank), Float64Array.of(group.rank, -group.rank)]) {
      await group.allReduce(array, { operation: 'max' });
      assert.deepEqual([...array].map(Math.abs), [expected, 0]);
    }
    const whole = Int32Array.of(group.rank, 2 ** 24 + 1);
    await group.allReduce(whole);
    assert.deepEqual([...whole], [sum(ranksOf(group)), group.size * (2 ** 24 + 1)]);
  },

  async 'works on a part of an array, and leaves the rest'(group) {
    const whole = new Float32Array(9).fill(5);
    await group.allReduce(whole.subarray(2, 4));
    assert.deepEqual([...whole], [5, 5, 5 * group.size, 5 * group.size, 5, 5, 5, 5, 5]);
  },

  async 'joins equal and unequal parts'(group) {
    const receive = new Float32Array(4 * group.size);
    await group.allGather({ send: data(group.rank, 4), receive });
    assertClose(receive, (i) => element(Math.floor(i / 4), i % 4));
    const counts = uneven(group);
    const parts = ranksOf(group).flatMap((rank) => [...data(rank, counts[rank]!)]);
    const joined = new Float32Array(parts.length);
    await group.allGather({ send: data(group.rank, counts[group.rank]!), receive: joined, counts });
    assert.deepEqual([...joined], parts);
  },

  async 'moves every type of element as its bits'(group) {
    const types = [Uint8Array, Int8Array, Uint16Array, Int16Array, Int32Array, Uint32Array, Float64Array] as const;
    for (const type of types) {
      const receive = new type(group.size);
      await group.allGather<TypedArray>({ send: type.of(group.rank + 1), receive });
      assert.deepEqual(
        [...receive],
        ranksOf(group).map((rank) => rank + 1),
      );
    }
    const wide = new BigInt64Array(group.size);
    await group.allGather({ send: BigInt64Array.of(2n ** 60n + BigInt(group.rank)), receive: wide });
    assert.deepEqual(
      [...wide],
      ranksOf(group).map((rank) => 2n ** 60n + BigInt(rank)),
    );
  },

  async 'gives each rank its part of the sum'(group) {
    const counts = uneven(group);
    const length = sum(counts);
    const receive = new Float32Array(counts[group.rank]!);
    await group.reduceScatter({ send: data(group.rank, length), receive, counts });
    const start = sum(counts.slice(0, group.rank));
    assertClose(receive, (i) => sum(ranksOf(group).map((rank) => element(rank, start + i))));
    const even = new Float32Array(2);
    await group.reduceScatter({ send: data(group.rank, 2 * group.size), receive: even }, { operation: 'max' });
    assertClose(even, (i) => Math.max(...ranksOf(group).map((rank) => element(rank, 2 * group.rank + i))));
  },

  async 'exchanges parts between all, equal and unequal'(group) {
    const from = (rank: number, to: number) => 100 * rank + to;
    const receive = new Int32Array(2 * group.size);
    const send = Int32Array.from({ length: 2 * group.size }, (_, i) => from(group.rank, Math.floor(i / 2)));
    await group.allToAll({ send, receive });
    for (const [i, value] of receive.entries()) assert.equal(value, from(Math.floor(i / 2), group.rank));

    // Rank r sends r + t elements to rank t, so rank 0 sends itself none.
    const counts = ranksOf(group).map((other) => group.rank + other);
    const parts = counts.flatMap((count, to) => new Array<number>(count).fill(from(group.rank, to)));
    const got = new Int32Array(sum(counts));
    await group.allToAll({ send: Int32Array.from(parts), receive: got, sendCounts: counts, receiveCounts: counts });
    assert.deepEqual(
      [...got],
      counts.flatMap((count, sender) => new Array<number>(count).fill(from(sender, group.rank))),
    );
  },

  async 'exchanges rows in 8 bits, and what a rank has for itself as it is'(group) {
    // To each rank rows of three, of which each is one number of float8 at some scale; then some numbers as they are.
    const rowsOf = (from: number, to: number) => (from + 2 * to) % 3;
    const values = (from: number, to: number) =>
      Array.from({ length: rowsOf(from, to) }, (_, i) => [448, -3.5, 0.0625].map((x) => x * 2 ** (from - i))).flat();
    const exact = (from: number, to: number) => [Math.fround(1 / (3 + from)), Math.fround(Math.PI * to)];
    const part = (from: number, to: number) => [...values(from, to), ...exact(from, to)];
    const all = ranksOf(group);
    const send = Float32Array.from(all.flatMap((to) => part(group.rank, to)));
    const expected = Float32Array.from(all.flatMap((from) => part(from, group.rank)));
    const receive = new Float32Array(expected.length);
    const own = await group.split({ color: 0 });
    await allToAllFloat8(own, {
      ...{ send, receive, dtype: 'float32', rows: [3, 0] },
      sendRuns: all.flatMap((to) => [3 * rowsOf(group.rank, to), 2]),
      receiveRuns: all.flatMap((from) => [3 * rowsOf(from, group.rank), 2]),
    });
    assertSameBits(receive, expected, 'other numbers');
    const others = all.filter((from) => from !== group.rank);
    const bytes = sum(others.map((from) => rowsOf(from, group.rank) * (3 + 4) + 2 * 4));
    assert.equal(own.traffic.allToAll?.bytes, bytes);
    await own.close();
  },

  async 'passes blocks around a ring, while other work is done'(group) {
    let block = data(group.rank, 1000);
    for (let step = 1; step <= group.size; step++) {
      const receive = new Float32Array(1000);
      const exchange = group.exchange({ send: block, to: next(group), receive, from: previous(group) });
      await new Promise((resolve) => setTimeout(resolve, 1));
      await exchange;
      block = receive;
      assert.deepEqual(block, data((group.rank + step * (group.size - 1)) % group.size, 1000));
    }
  },

  async 'gives all what one has'(group) {
    for (const root of ranksOf(group)) {
      const array = data(group.rank, 5000);
      await group.broadcast(array, { root });
      assert.deepEqual(array, data(root, 5000));
    }
  },

  async 'keeps calls in order that are made at once'(group) {
    const arrays = Array.from({ length: 10 }, (_, i) => Float32Array.of(i, group.rank));
    await Promise.all([...arrays.map((array) => group.allReduce(array)), group.barrier()]);
    for (const [i, array] of arrays.entries()) assert.deepEqual([...array], [i * group.size, sum(ranksOf(group))]);
  },

  async 'parts into groups that work at the same time'(group) {
    // Rows and columns of a mesh, each rank in one of both; columns in reverse order.
    const columns = group.size % 2 === 0 ? 2 : 1;
    const [row, column] = [Math.floor(group.rank / columns), group.rank % columns];
    const inRow = await group.split({ color: row });
    const inColumn = await group.split({ color: column, key: -row });
    assert.deepEqual([inRow.rank, inRow.size], [column, columns]);
    assert.deepEqual([inColumn.rank, inColumn.size], [group.size / columns - 1 - row, group.size / columns]);
    const [a, b] = [Float32Array.of(group.rank), Float32Array.of(group.rank)];
    // Not in the same order on all ranks.
    await Promise.all(
      group.rank === 0 ? [inRow.allReduce(a), inColumn.allReduce(b)] : [inColumn.allReduce(b), inRow.allReduce(a)],
    );
    assert.deepEqual([...a], [sum(ranksOf(inRow).map((i) => row * columns + i))]);
    assert.deepEqual([...b], [sum(ranksOf(inColumn).map((i) => i * columns + column))]);
    const deeper = await inRow.split({ color: 0 });
    await deeper.barrier();
    await deeper.close();
  },

  async 'counts calls and bytes'(group) {
    const own = await group.split({ color: 0 });
    const { rank, size } = group;
    await own.allReduce(new Float32Array(size * 10));
    await own.allGather({ send: new Uint8Array(7), receive: new Uint8Array(7 * size) });
    await own.reduceScatter({ send: new Float32Array(size), receive: new Float32Array(1) });
    await own.allToAll({ send: new Float64Array(size * 3), receive: new Float64Array(size * 3) });
    await own.exchange({ send: Uint8Array.of(1), to: next(own), receive: new Uint8Array(1), from: previous(own) });
    await own.exchange({ send: Uint8Array.of(1), to: rank, receive: new Uint8Array(1), from: rank });
    await own.broadcast(new Float32Array(6), { root: size - 1 });
    await own.barrier();
    const others = size - 1;
    const counted = Object.entries(own.traffic).map(([kind, { calls, bytes }]) => [kind, calls, bytes]);
    assert.deepEqual(counted, [
      ['allReduce', 1, 2 * 40 * others],
      ['allGather', 1, 7 * others],
      ['reduceScatter', 1, 4 * others],
      ['allToAll', 1, 24 * others],
      ['exchange', 2, others > 0 ? 1 : 0],
      ['broadcast', 1, rank === size - 1 ? 0 : 24],
      ['barrier', 1, 0],
    ]);
  },

  async 'refuses arguments that cannot be, and works on'(group) {
    const refused = (call: () => Promise<void>, message: RegExp) =>
      assert.rejects(
        call,
        (error: Error) => 'code' in error && error.code === 'INVALID_ARGUMENT' && message.test(error.message),
      );
    const one = new Float32Array(1);
    await refused(() => group.allGather({ send: one, receive: one, counts: [1, 1, 1, 1, 1, 1, 1, 1, 1] }), /ranks/);
    await refused(() => group.allGather({ send: new Float32Array(2), receive: new Float32Array(group.size) }), /send/);
    await refused(() => group.broadcast(one, { root: group.size }), /root must be a rank/);
    await refused(() => group.allGather<TypedArray>({ send: new Int8Array(1), receive: one }), /int8.*float32/);
    await group.barrier();
  },

  async 'waits for one that comes late'(group) {
    if (group.rank === group.size - 1) await new Promise((resolve) => setTimeout(resolve, 300));
    await group.barrier();
  },
};

/** Runs all cases. @throws Error naming the case and what was wrong */
export async function conform(group: Collective): Promise<void> {
  for (const [name, run] of Object.entries(cases)) {
    await run(group).catch((cause: Error) => {
      throw new Error(`rank ${group.rank} of ${group.size}, ${name}: ${cause.message}`, { cause });
    });
  }
}
