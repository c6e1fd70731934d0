/**
 * Waits for operations of MPI by asking after each. MPI's own waiting takes a whole core, which the other ranks or ONNX Runtime's threads
 * need; this spins for a moment, as most answers come at once, and then naps. The event loop of the thread turns all the time.
 */
import { setImmediate } from 'node:timers/promises';
import type { Mpi, Request } from './library.ts';

/** Milliseconds of asking without pause after something has happened. */
const spinning = 1;
/** Milliseconds of the first nap, of the longest while somebody waits, and of naps while nobody does. */
const naps = { first: 0.05, longest: 1, idle: 20 };

interface Operation {
  readonly request: Request;
  /** What MPI uses until it is over. */
  readonly memory: unknown;
  resolve(): void;
  reject(error: unknown): void;
}

export class Poller {
  /** Whether somebody waits for other ranks. */
  hurry = false;
  private readonly operations = new Set<Operation>();
  private stopped = false;

  /**
   * @param wake its first element changes, and is notified, when the thread has got something to do
   * @param tick called in every turn
   */
  constructor(
    private readonly mpi: Mpi,
    private readonly wake: Int32Array,
    private readonly tick: () => void,
  ) {}

  /**
   * Resolves when the operation is over.
   * @param memory what MPI uses until then
   * @throws DejaDitError RUNTIME what MPI says
   */
  done(request: Request, memory?: unknown): Promise<void> {
    return new Promise((resolve, reject) => this.operations.add({ request, memory, resolve, reject }));
  }

  /** Asks until `stop`. */
  async run(): Promise<void> {
    let last = performance.now();
    let nap = naps.first;
    while (!this.stopped) {
      const seen = Atomics.load(this.wake, 0);
      if (this.ask()) last = performance.now();
      this.tick();
      // Whoever waited goes on, and messages of the other thread are read.
      await setImmediate();
      if (performance.now() - last < spinning) {
        nap = naps.first;
      } else if (Atomics.wait(this.wake, 0, seen, this.hurry ? nap : naps.idle) === 'timed-out') {
        nap = Math.min(2 * nap, naps.longest);
      } else {
        last = performance.now();
      }
    }
  }

  stop(): void {
    this.stopped = true;
  }

  /** @returns whether any operation is over */
  private ask(): boolean {
    const before = this.operations.size;
    for (const operation of this.operations) {
      try {
        if (!this.mpi.test(operation.request)) continue;
        operation.resolve();
      } catch (error) {
        operation.reject(error);
      }
      this.operations.delete(operation);
    }
    return this.operations.size < before;
  }
}
