/** Runs a command in a process of its own and ends it when asked to: in order if it answers at once, by force if it does not. */
import { fork } from 'node:child_process';
import { rmSync } from 'node:fs';
import { constants } from 'node:os';

/** Milliseconds that an interrupted command has to clean up after itself. Inside a run of ONNX Runtime it does not get to it. */
const grace = 250;

export function supervise(): void {
  const child = fork(new URL('./program.js', import.meta.url), process.argv.slice(2), {
    env: { ...process.env, DEJA_DIT_STARTED: String(performance.timeOrigin) },
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
      process.stderr.write(`${process.stderr.isTTY ? '\r\x1b[K' : ''}deja-dit: interrupted\n`);
      process.exit(128 + constants.signals[asked]);
    }
    if (signal) {
      const reason = signal === 'SIGKILL' ? ', as systems do that run out of memory' : '';
      process.stderr.write(`deja-dit: the command was ended by ${signal}${reason}\n`);
      process.exit(128 + constants.signals[signal]);
    }
    process.exit(code);
  });
}
