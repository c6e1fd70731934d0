/** This process as a rank, seen from its main thread: hands orders to the communication thread, and lets the process exit in order. */
import { Worker } from 'node:worker_threads';
import { DejaDitError } from '../../../errors/errors.ts';
import type { Call } from '../call.ts';
import { type Failure, type Order, type Report, shared, type ThreadData } from './messages.ts';

interface Pending {
  resolve(): void;
  reject(error: DejaDitError): void;
  /** Holds the arrays that MPI reads and writes meanwhile. */
  call: Call | undefined;
}

/** Orders that are answered, before they have a number. */
type Asked<O = Order> = O extends { id: number } ? Omit<O, 'id'> : never;

export class MpiProcess {
  failure: DejaDitError | undefined;
  private readonly flags = new Int32Array(new SharedArrayBuffer(4 * shared.length));
  private readonly worker: Worker;
  private readonly pending = new Map<number, Pending>();
  private nextId = 1;

  private constructor(data: Omit<ThreadData, 'flags'>) {
    // Code that UCX puts into memory functions for its cache crashes threads that are inside them; the libraries read this when they load.
    process.env['UCX_MEM_EVENTS'] ??= 'n';
    // A thread cannot load TypeScript, so from the sources it is the built file that runs.
    const folder = import.meta.url.endsWith('.ts') ? '../../../../dist/parallel/collective/mpi' : '.';
    this.worker = new Worker(new URL(`${folder}/comm-thread.js`, import.meta.url), {
      workerData: { ...data, flags: this.flags } satisfies ThreadData,
      execArgv: [],
    });
    this.worker.on('error', (cause) => this.fail(lost(cause.message, cause)));
    this.worker.on('exit', () => this.fail(lost('has ended')));
    process.on('exit', this.onExit);
  }

  /** Joins the job. @throws DejaDitError what the communication thread says if it cannot begin */
  static async start(
    data: Omit<ThreadData, 'flags'>,
  ): Promise<{ process: MpiProcess; rank: number; size: number; version: string }> {
    const started = new MpiProcess(data);
    const { worker } = started;
    const first = await new Promise<Report>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    if ('refused' in first) {
      process.off('exit', started.onExit);
      throw toError(first.refused);
    }
    if (!('joined' in first)) throw lost('spoke out of turn');
    worker.on('message', (report: Report) => started.hear(report));
    // A job in which nobody waits must not keep the process alive.
    worker.unref();
    return { process: started, ...first.joined };
  }

  /** Gives an order. @param signal cancels it, and with it the job */
  ask(order: Asked, { call, signal }: { call?: Call; signal?: AbortSignal } = {}): Promise<void> {
    const id = this.nextId++;
    const cancel = () => this.tell({ cancel: id });
    return new Promise<void>((resolve, reject) => {
      if (this.pending.size === 0) this.worker.ref();
      this.pending.set(id, { resolve, reject, call });
      this.tell({ ...order, id } as Order);
      signal?.addEventListener('abort', cancel);
      if (signal?.aborted) cancel();
    }).finally(() => signal?.removeEventListener('abort', cancel));
  }

  tell(order: Order): void {
    this.worker.postMessage(order);
    this.wake();
  }

  async close(): Promise<void> {
    await this.ask({ close: true });
    process.off('exit', this.onExit);
  }

  private wake(): void {
    Atomics.add(this.flags, shared.wake, 1);
    Atomics.notify(this.flags, shared.wake);
  }

  /** A process that exits without a word takes the others with it; this one waits until they know, or until all are done. */
  private readonly onExit = (code: number): void => {
    Atomics.store(this.flags, shared.exiting, code + 1);
    this.wake();
    Atomics.wait(this.flags, shared.finished, 0);
  };

  private hear(report: Report): void {
    if ('failed' in report) {
      Atomics.store(this.flags, shared.heard, 1);
      this.failure ??= toError(report.failed);
    } else if ('id' in report) {
      const pending = this.pending.get(report.id);
      this.pending.delete(report.id);
      if (this.pending.size === 0) this.worker.unref();
      if (report.error) pending?.reject(this.failure ?? toError(report.error));
      else pending?.resolve();
    }
  }

  private fail(error: DejaDitError): void {
    this.failure ??= error;
    for (const { reject } of this.pending.values()) reject(this.failure);
    this.pending.clear();
    process.off('exit', this.onExit);
  }
}

function toError({ code, message }: Failure): DejaDitError {
  return new DejaDitError(code, message);
}

function lost(what: string, cause?: unknown): DejaDitError {
  return new DejaDitError('RUNTIME', `the communication thread of MPI: ${what}`, { cause });
}
