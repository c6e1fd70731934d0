/**
 * A thread that can be ended at any moment. Node ends a thread by breaking off its JavaScript; where native code of ONNX Runtime has to
 * return into that, the whole process aborts. So this thread is never broken off while it works: `terminate` asks it to end
 * itself, and a process that exits, in whatever way, first waits until the run under way has returned.
 */
import { Worker } from 'node:worker_threads';

/** Places in the memory that both sides see. */
const BUSY = 0;
const STOP = 1;

/** Values of STOP. */
const END = 1;
const FREEZE = 2;

const living = new Set<OrderlyWorker>();

export class OrderlyWorker extends Worker {
  /** Resolves when the thread has ended. */
  readonly ended: Promise<number>;
  private readonly flags: Int32Array;

  /** @param data what the thread finds as `workerData.data`, see `Workshop` */
  constructor(url: URL, data: unknown) {
    const flags = new Int32Array(new SharedArrayBuffer(8));
    // Node's flags for the main script, --input-type for one, are none for this.
    super(url, { workerData: { flags, data }, execArgv: [] });
    this.flags = flags;
    if (living.size === 0) process.on('exit', freezeAll);
    living.add(this);
    this.ended = new Promise((resolve) => {
      this.once('exit', (code) => {
        living.delete(this);
        if (living.size === 0) process.off('exit', freezeAll);
        resolve(code);
      });
    });
  }

  /** Ends the thread after the piece of work that it is doing; work that has not begun is dropped. */
  override terminate(): Promise<number> {
    Atomics.store(this.flags, STOP, END);
    this.ref();
    // Wakes it if it waits for work.
    this.postMessage(undefined);
    return this.ended;
  }

  /** Waits, blocking this thread, for the piece of work under way, and lets none begin any more. */
  freeze(): void {
    Atomics.store(this.flags, STOP, FREEZE);
    while (Atomics.load(this.flags, BUSY) === 1) Atomics.wait(this.flags, BUSY, 1);
  }
}

function freezeAll(): void {
  for (const worker of living) worker.freeze();
}

/** The thread's side: does its work in pieces, one after the other, that are never broken off. */
export class Workshop {
  private queue: Promise<void> = Promise.resolve();

  /**
   * @param flags `workerData.flags`
   * @param close the last piece of work, before the thread ends
   */
  constructor(
    private readonly flags: Int32Array,
    private readonly close: () => Promise<void>,
  ) {}

  /** Does a piece of work after those before it. It must not throw. */
  do(work: () => Promise<void>): void {
    this.queue = this.queue.then(async () => {
      if (!(await this.piece(work))) await this.end();
    });
  }

  /** @returns false if the thread shall end */
  private async piece(work: () => Promise<void>): Promise<boolean> {
    const { flags } = this;
    // The other side sets STOP and then reads BUSY: one of the two sees the other.
    Atomics.store(flags, BUSY, 1);
    try {
      if (Atomics.load(flags, STOP) === 0) await work();
    } finally {
      Atomics.store(flags, BUSY, 0);
      Atomics.notify(flags, BUSY);
    }
    return Atomics.load(flags, STOP) !== END;
  }

  private async end(): Promise<void> {
    const { flags } = this;
    Atomics.store(flags, BUSY, 1);
    if (Atomics.load(flags, STOP) === END) await this.close().catch(() => undefined);
    Atomics.store(flags, BUSY, 0);
    Atomics.notify(flags, BUSY);
    if (Atomics.load(flags, STOP) === END) process.exit(0);
  }
}
