/** What the main thread and the communication thread say to each other, and the memory that both see. */
import type { ErrorCode } from '../../../errors/errors.ts';
import type { RemoteCall } from './memory.ts';

/** Groups are known by number; the one of all ranks is 0. */
export type Order =
  | { id: number; perform: RemoteCall; signature: string; group: number; deadline: number }
  | { id: number; subgroup: number[]; label: string; group: number; made: number }
  | { id: number; close: true }
  /** Gives up the call with that id. */
  | { cancel: number }
  | { abort: string };

export interface Failure {
  code: ErrorCode;
  message: string;
}

export type Report =
  | { joined: { rank: number; size: number; version: string } }
  | { id: number; error?: Failure }
  | { failed: Failure }
  /** Could not begin. */
  | { refused: Failure };

/** Places in the shared memory. */
export const shared = {
  /** Changes with every order. */
  wake: 0,
  /** 1 + the exit code, once the process exits. */
  exiting: 1,
  /** 1 once the main thread knows of a failure. */
  heard: 2,
  /** 1 once the communication thread calls MPI no more. */
  finished: 3,
  length: 4,
} as const;

export interface ThreadData {
  libraries: string[];
  /** As the launcher says. */
  size: number | undefined;
  flags: Int32Array;
}
