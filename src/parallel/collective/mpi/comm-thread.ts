/** The communication thread of a rank, the only one that calls MPI: begins, serves the main thread's orders, and ends in order. */
import { writeSync } from 'node:fs';
import os from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { DejaDitError } from '../../../errors/errors.ts';
import { died, gaveUp } from '../failures.ts';
import { Mesh } from '../mesh.ts';
import { Mpi } from './library.ts';
import { type Content, type Mail, Mailbox } from './mailbox.ts';
import { type Failure, type Order, type Report, shared, type ThreadData } from './messages.ts';
import { MpiGroup } from './mpi-group.ts';
import { Poller } from './poller.ts';
import { Watch, type Whereabouts } from './watch.ts';

/**
 * Milliseconds that the main thread has to hear of a failure before this thread prints it; that all ranks have to say what has happened,
 * as launchers end them when the first one exits; and after which a main thread that hears nothing is ended with the process.
 */
const grace = { hear: 200, say: 500, end: 3000 };

const { libraries, size: expected, flags } = workerData as ThreadData;
const port = parentPort!;
const parent = process.ppid;
const report = (message: Report) => port.postMessage(message);

class Communication {
  private readonly groups = new Map<number, MpiGroup>();
  private readonly cancels = new Map<number, AbortController>();
  private readonly mesh: Mesh<Content>;
  private readonly poller: Poller;
  private readonly mailbox: Mailbox;
  private watch: Watch | undefined;
  private failedAt: number | undefined;
  private printed = false;
  private ending: Promise<void> | undefined;

  constructor(private readonly mpi: Mpi) {
    const { COMM_WORLD } = mpi.constants;
    const [rank, size] = [mpi.rank(COMM_WORLD), mpi.size(COMM_WORLD)];
    this.poller = new Poller(mpi, flags, () => this.tick(performance.now()));
    this.mailbox = new Mailbox({
      mpi,
      poller: this.poller,
      group: mpi.duplicate(COMM_WORLD),
      receive: (from, mail) => this.receive(from, mail),
      fail: (error) => this.mesh.fail(gaveUp(rank, error)),
    });
    this.mesh = new Mesh(rank, size, this.mailbox);
    const members = Array.from({ length: size }, (_, member) => member);
    const { mesh, poller } = this;
    this.groups.set(0, new MpiGroup({ mpi, mesh, poller }, { members, label: '', handle: mpi.duplicate(COMM_WORLD) }));
  }

  /** Serves until the end. */
  async run(): Promise<void> {
    const polling = this.poller.run();
    const { mpi, mesh } = this;
    const ranks = await this.whereabouts();
    this.watch = new Watch(mesh, ranks, {
      post: (peer, mail) => this.mailbox.post(peer, mail),
      awaited: () => this.awaited(),
    });
    port.on('message', (order: Order) => this.serve(order));
    report({ joined: { rank: mesh.rank, size: mesh.size, version: mpi.version } });
    await polling;
    port.close();
  }

  private receive(from: number, mail: Mail): boolean {
    this.watch?.heard(from);
    if (mail === 'ping') this.mailbox.post(from, 'pong');
    else if (mail !== 'pong') this.mesh.receive(from, mail);
    return this.mesh.remaining().length > 0;
  }

  private serve(order: Order): void {
    if ('cancel' in order) this.cancels.get(order.cancel)?.abort();
    else if ('abort' in order) this.mesh.fail(gaveUp(this.mesh.rank, order.abort));
    else this.answer(order);
  }

  private answer(order: Extract<Order, { id: number }>): void {
    const { id } = order;
    this.carryOut(order)
      .then(
        () => report({ id }),
        (error) => report({ id, error: toFailure(error) }),
      )
      .finally(() => this.cancels.delete(id));
  }

  private async carryOut(order: Extract<Order, { id: number }>): Promise<void> {
    if ('close' in order) return this.end();
    const group = this.groups.get(order.group)!;
    if ('subgroup' in order) {
      this.groups.set(order.made, group.subgroup(order.subgroup, order.label));
      return;
    }
    const controller = new AbortController();
    this.cancels.set(order.id, controller);
    const { signature, deadline } = order;
    await group.perform(order.perform, signature, { deadline, signal: controller.signal });
  }

  /** What is to be done from time to time. */
  private tick(now: number): void {
    this.watch?.tick(now);
    const exiting = Atomics.load(flags, shared.exiting);
    if (exiting > 0) this.ending ??= this.exit(exiting - 1);
    const { failure, rank } = this.mesh;
    if (failure) this.spread(failure, now);
    // Nobody would end this process if the main thread did not hear it.
    else if (process.ppid !== parent) this.mesh.fail(died(rank, 'the process that started it has ended'));
  }

  /** Sees to it that a failure is said, and that the process ends. */
  private spread(failure: DejaDitError, now: number): void {
    if (this.failedAt === undefined) {
      this.failedAt = now;
      report({ failed: toFailure(failure) });
      return;
    }
    if (Atomics.load(flags, shared.heard) === 1) return;
    const { rank, size } = this.mesh;
    const passed = now - this.failedAt;
    // A thread that computes hears nothing, and the launcher may end this process any moment.
    if (!this.printed && passed > grace.hear) {
      this.printed = true;
      writeSync(2, `deja-dit: rank ${rank} of ${size}: ${failure.message}\n`);
    }
    const end = process.ppid === parent ? grace.end : grace.hear;
    if (passed > end) process.kill(process.pid, 'SIGKILL');
  }

  /** The process exits, and its main thread waits for this one. */
  private async exit(code: number): Promise<void> {
    const { mesh } = this;
    if (code !== 0) mesh.fail(died(mesh.rank, `it exited with code ${code} before the job was over`));
    await this.end();
  }

  /** Leaves the job: when all do, or soon if it has failed. MPI ends only a job in which nothing has gone wrong. */
  private async end(): Promise<void> {
    const { mesh, mailbox, mpi, poller } = this;
    if (!mesh.failure) mesh.leave();
    while (!mesh.failure && (mesh.remaining().length > 0 || !mailbox.flushed)) await pause();
    while (mesh.failure && !(performance.now() - this.failedAt! > grace.say)) await pause();
    poller.stop();
    if (!mesh.failure) mpi.call('Finalize');
    finish();
  }

  /** Whose letters or data are waited for. */
  private awaited(): Set<number> {
    const moving = [...this.groups.values()].filter((group) => group.moving).flatMap(({ members }) => members);
    return new Set([...this.mesh.awaited(), ...moving]);
  }

  /** Where all ranks run. */
  private async whereabouts(): Promise<Whereabouts[]> {
    const { mpi, mesh, poller } = this;
    const length = 256;
    const [own, all] = [Buffer.alloc(length, ' '), Buffer.alloc(length * mesh.size)];
    own.write(JSON.stringify({ host: os.hostname().slice(0, 200), pid: process.pid } satisfies Whereabouts));
    const { BYTE } = mpi.constants;
    const group = this.groups.get(0)!.handle;
    const request = mpi.start(
      'Iallgather',
      ...[mpi.address(own), length, BYTE],
      ...[mpi.address(all), length, BYTE],
      group,
    );
    await poller.done(request, [own, all]);
    return Array.from({ length: mesh.size }, (_, rank) =>
      JSON.parse(all.toString('utf8', rank * length, (rank + 1) * length)),
    );
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

function toFailure(error: unknown): Failure {
  const code = error instanceof DejaDitError ? error.code : 'RUNTIME';
  return { code, message: error instanceof Error ? error.message : String(error) };
}

/** From here on the process may exit. */
function finish(): void {
  Atomics.store(flags, shared.finished, 1);
  Atomics.notify(flags, shared.finished);
}

async function begin(): Promise<Mpi> {
  const mpi = await Mpi.open(libraries);
  mpi.initialize();
  const size = mpi.size(mpi.constants.COMM_WORLD);
  if (expected === undefined || size === expected) return mpi;
  mpi.call('Finalize');
  throw new DejaDitError(
    'UNSUPPORTED',
    `the launcher started ${expected} ranks, but ${mpi.version} (${mpi.file}) sees ${size}: ` +
      `use the mpirun that belongs to this library, or name the launcher's with DEJA_DIT_MPI_LIBRARY`,
  );
}

try {
  await new Communication(await begin()).run();
} catch (error) {
  report({ refused: toFailure(error) });
  finish();
}
