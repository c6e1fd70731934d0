/** The functions of an MPI library, as far as they are used here. One thread of the process calls them, the one that called `initialize`. */
import path from 'node:path';
import type koffi from 'koffi';
import type { LibraryHandle } from 'koffi';
import { DejaDitError } from '../../../errors/errors.ts';
import { type Constants, type Handle, type Interface, interfaceOf } from './flavours.ts';

/** C's types of arguments: a handle, an address or number as wide as one, an int, ints, and a handle that is given back. */
const types = { h: 'handle', p: 'intptr_t', i: 'int', I: 'int *', H: 'handle *', s: 'char *' } as const;

const functions = {
  Init_thread: 'ppiI',
  Finalize: '',
  Comm_rank: 'hI',
  Comm_size: 'hI',
  Comm_dup: 'hH',
  Comm_split: 'hiiH',
  Comm_free: 'H',
  Comm_set_errhandler: 'hh',
  Get_library_version: 'sI',
  Error_string: 'isI',
  Test: 'HIp',
  Isend: 'pihiihH',
  Irecv: 'pihiihH',
  Iallreduce: 'ppihhhH',
  Iallgather: 'pihpihhH',
  Iallgatherv: 'pihpIIhhH',
  Ialltoallv: 'pIIhpIIhhH',
  Ibcast: 'pihihH',
} as const;

type Name = keyof typeof functions;
export type Nonblocking = Extract<Name, `I${'s' | 'r' | 'a' | 'b'}${string}`>;
type Argument = Handle | Int32Array | BigInt64Array | Buffer;

/** A request that is under way, as MPI's functions write it and `Test` reads it. */
export type Request = Int32Array | BigInt64Array;

/** The largest count and offset that MPI's functions of this kind take. */
const largestCount = 2 ** 31 - 1;

export class Mpi {
  readonly interface: Interface;
  readonly constants: Constants;
  private readonly bound = new Map<Name, (...given: Argument[]) => number>();
  private readonly flag = new Int32Array(1);

  private constructor(
    private readonly native: typeof koffi,
    private readonly library: LibraryHandle,
    /** As it was found. */
    readonly file: string,
  ) {
    this.interface = interfaceOf(file, (symbol) => this.addressOf(symbol));
    this.constants = this.interface.constants;
  }

  /** @throws DejaDitError UNSUPPORTED without koffi; NOT_FOUND if none of the files loads */
  static async open(files: readonly string[]): Promise<Mpi> {
    const native = await loadKoffi();
    // Open MPI and UCX take more than the default stack.
    native.config({ sync_stack_size: 8 << 20 });
    const reasons: string[] = [];
    for (const file of files) {
      try {
        // Plugins of Open MPI look for the library's symbols among the global ones.
        return new Mpi(native, native.load(file, { global: true, lazy: true }), file);
      } catch (cause) {
        reasons.push(`${file}: ${(cause as Error).message.split('\n')[0]}`);
      }
    }
    throw new DejaDitError('NOT_FOUND', `no MPI library loads (${reasons.join('; ')})`);
  }

  /** `Open MPI v4.1.4` or `MPICH 4.0.2`. */
  get version(): string {
    const text = Buffer.alloc(8192);
    const length = new Int32Array(1);
    this.call('Get_library_version', text, length);
    const [found] = /Open MPI v[\w.]+|MPICH Version:\s*[\w.]+/.exec(text.toString('utf8', 0, length[0])) ?? [];
    return found?.replace(/ Version:\s*| v/, ' ') ?? path.basename(this.file);
  }

  /** Begins. Waits for all ranks that the launcher has started. */
  initialize(): void {
    const provided = new Int32Array(1);
    this.call('Init_thread', 0, 0, this.constants.THREAD_SERIALIZED, provided);
    if (provided[0]! < Number(this.constants.THREAD_SERIALIZED))
      throw new DejaDitError('UNSUPPORTED', `${this.version} was built without threads`, { path: this.file });
  }

  /** Calls a function that does its work before it returns. @throws DejaDitError RUNTIME with MPI's text */
  call(name: Exclude<Name, Nonblocking>, ...given: Argument[]): void {
    this.invoke(name, given);
  }

  /** Begins an operation. Its memory must stay as it is until `test` says that it is over. */
  start(name: Nonblocking, ...given: Argument[]): Request {
    const request = this.handle();
    this.invoke(name, [...given, request]);
    return request;
  }

  /** Whether an operation is over. Afterwards the request is none any more. */
  test(request: Request): boolean {
    this.call('Test', request, this.flag, this.constants.STATUS_IGNORE);
    return this.flag[0] !== 0;
  }

  address(memory: Buffer): bigint {
    return this.native.address(memory);
  }

  rank(group: Handle): number {
    const rank = new Int32Array(1);
    this.call('Comm_rank', group, rank);
    return rank[0]!;
  }

  size(group: Handle): number {
    const size = new Int32Array(1);
    this.call('Comm_size', group, size);
    return size[0]!;
  }

  /** A group of the same ranks whose messages are its own; errors come back from the functions. */
  duplicate(group: Handle): Handle {
    const made = this.handle();
    this.call('Comm_dup', group, made);
    this.call('Comm_set_errhandler', made[0]!, this.constants.ERRORS_RETURN);
    return made[0]!;
  }

  /** Parts a group; all its ranks call it. */
  split(group: Handle, { color, key }: { color: number; key: number }): Handle {
    const made = this.handle();
    this.call('Comm_split', group, color, key, made);
    this.call('Comm_set_errhandler', made[0]!, this.constants.ERRORS_RETURN);
    return made[0]!;
  }

  free(group: Handle): void {
    const handle = this.handle();
    handle[0] = group as never;
    this.call('Comm_free', handle);
  }

  /** @throws DejaDitError UNSUPPORTED */
  checkCounts(counts: readonly number[]): void {
    const sum = counts.reduce((a, b) => a + b, 0);
    if (sum > largestCount)
      throw new DejaDitError('UNSUPPORTED', `${sum} elements in one call, MPI takes up to ${largestCount}: use parts`);
  }

  private handle(): Request {
    return this.interface.handle === 'int' ? new Int32Array(1) : new BigInt64Array(1);
  }

  private invoke(name: Name, given: Argument[]): void {
    let native = this.bound.get(name);
    if (!native) {
      const wanted = [...functions[name]].map((letter) => {
        return types[letter as keyof typeof types].replace('handle', this.interface.handle);
      });
      native = this.library.func(`MPI_${name}`, 'int', wanted) as (...given: Argument[]) => number;
      this.bound.set(name, native);
    }
    const code = native(...given);
    if (code !== 0) throw new DejaDitError('RUNTIME', this.errorText(code), { path: `MPI_${name}` });
  }

  private errorText(code: number): string {
    const text = Buffer.alloc(512);
    const length = new Int32Array(1);
    this.call('Error_string', code, text, length);
    return text.toString('utf8', 0, length[0]);
  }

  private addressOf(symbol: string): bigint | undefined {
    try {
      return this.native.address(this.library.symbol(symbol));
    } catch {
      return undefined;
    }
  }
}

/** koffi calls functions of C libraries. It is an optional dependency: only MPI needs it. */
export async function loadKoffi(): Promise<typeof koffi> {
  try {
    return (await import('koffi')).default;
  } catch (cause) {
    const reason = (cause as Error).message.split('\n')[0];
    throw new DejaDitError('UNSUPPORTED', `MPI needs the package koffi: npm install koffi (${reason})`, { cause });
  }
}
