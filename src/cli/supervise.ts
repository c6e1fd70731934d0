/** Runs a command in a process of its own and ends it when asked to: in order if it answers at once, by force if it does not. */
import { fork, type StdioOptions } from 'node:child_process';
import { rmSync } from 'node:fs';
import { constants } from 'node:os';
import { launchedBy, pmiDescriptor } from '../runtime/launched-by.ts';

/** Milliseconds that an interrupted command has to clean up after itself. Inside a run of ONNX Runtime it does not get to it. */
const grace = 250;

/** Milliseconds that the other ranks of a job have to say who has died, before the launcher hears of it and ends them. */
const farewell = 1000;

/** @param program what runs the command */
export function supervise(program = new URL('./program.js', import.meta.url)): void {
  const job = launchedBy();
  const inJob = job !== undefined;
  const child = fork(program, process.argv.slice(2), {
    env: { ...process.env, DEJA_DIT_STARTED: String(performance.timeOrigin) },
    stdio: streams(),
  });
  let asked: NodeJS.Signals | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // Whoever asks twice does not want to wait.
      if (asked) return void child.kill('SIGKILL');
      asked = signal;
      if (child.connected) child.send('stop');
      setTimeout(() => child.kill('SIGKILL'), grace);
    });
  }
  const unfinished: string[] = [];
  child.on('message', ({ temporary }: { temporary: string }) => unfinished.push(temporary));
  // Once its messages have been read too.
  child.on('close', (code, signal) => {
    if (signal) for (const path of unfinished) rmSync(path, { recursive: true, force: true });
    if (asked) {
      // A launcher ends all ranks when one has failed, or says itself that it was interrupted.
      if (inJob) process.exit(128 + constants.signals[asked]);
      process.stderr.write(`${process.stderr.isTTY ? '\r\x1b[K' : ''}deja-dit: interrupted\n`);
      process.exit(128 + constants.signals[asked]);
    }
    if (signal) {
      const reason = signal === 'SIGKILL' ? ', as systems do that run out of memory' : '';
      const who = job ? `rank ${job.rank}${job.size === undefined ? '' : ` of ${job.size}`}` : 'the command';
      process.stderr.write(`deja-dit: ${who} was ended by ${signal}${reason}\n`);
      const leave = () => process.exit(128 + constants.signals[signal]);
      if (!inJob) return leave();
      // To a launcher an exit is no failure before its MPI has begun, and the others wait for this rank there.
      setTimeout(() => process.kill(process.pid, 'SIGKILL'), farewell);
    } else {
      process.exit(code);
    }
  });
}

/** Ours, a channel, and what MPICH's launcher hands to the process that it starts. */
function streams(): StdioOptions {
  const streams: (number | 'inherit' | 'ignore' | 'ipc')[] = ['inherit', 'inherit', 'inherit'];
  const descriptor = pmiDescriptor();
  if (descriptor !== undefined) {
    while (streams.length < descriptor) streams.push('ignore');
    streams[descriptor] = descriptor;
  }
  const free = streams.indexOf('ignore');
  if (free < 0) streams.push('ipc');
  else streams[free] = 'ipc';
  return streams;
}
