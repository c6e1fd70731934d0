/**
 * The engine process: owns the models and runs tasks, several at a time if it is given several. It hears of everything by messages from
 * its server (`engine.ts`), and ends when that is gone.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { setWarningHandler } from '../../errors/warnings.ts';
import { jobError } from '../jobs/jobs.ts';
import type { Task } from '../jobs/runner.ts';
import type { EngineSettings, FromEngine, ToEngine } from './messages.ts';
import { ModelPool } from './model-pool.ts';
import { StepBatcher } from './step-batcher.ts';
import { type Work, works } from './works.ts';

const send = (message: FromEngine) => void process.send?.(message);
setWarningHandler((warning) => send({ warning }));

let pool: ModelPool | undefined;
let settings: EngineSettings | undefined;
const steps = new StepBatcher();
const tasks = new Map<string, AbortController>();

// The server says when to end; a Ctrl-C in a terminal goes to both.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('disconnect', () => process.exit(1));
process.on('message', (message: ToEngine) => {
  if ('start' in message) void start(message.start);
  else if ('load' in message) void load(message.load);
  else if ('unload' in message) void pool?.unload(message.unload);
  else if ('run' in message) void run(message.run);
  else if ('cancel' in message) tasks.get(message.cancel)?.abort();
  else void end();
});

async function start(given: EngineSettings): Promise<void> {
  settings = given;
  pool = new ModelPool(given, (model, now) => send({ model, now }));
  const [first] = given.models;
  if (await load(first!.name)) {
    await warmUp(first!.name);
    send({ warm: true });
  }
}

/** The pool tells the server what came of it. */
async function load(name: string): Promise<boolean> {
  try {
    (await pool!.acquire(name)).release();
    return true;
  } catch {
    return false;
  }
}

/** Draws once, so that what requests of the usual size need is compiled. A video of the usual size may take an hour. */
async function warmUp(name: string): Promise<void> {
  const { pipe, loras, release } = await pool!.acquire(name);
  const done = await loras.use([]);
  try {
    if (pipe.traits.output === 'videos') return;
    const subject = pipe.traits.subject === 'prompt' ? { prompt: '' } : { classLabels: 0 };
    await pipe.generate({ ...subject, numInferenceSteps: 1, seed: 0 });
  } catch (error) {
    send({ warning: `${name}: drawing at the default settings fails: ${jobError(error).message}` });
  } finally {
    done();
    release();
  }
}

async function run({ id, kind, model, input }: Task): Promise<void> {
  const controller = new AbortController();
  tasks.set(id, controller);
  const { signal } = controller;
  const leases: (() => void)[] = [];
  try {
    // A kind's function takes that kind's input; the message holds the two together.
    const work = works[kind] as Work<typeof kind> | undefined;
    if (!work) throw new DejaDitError('UNSUPPORTED', `this engine knows no work of kind '${kind}'`);
    const result = await work(input, {
      model,
      signal,
      steps,
      maxPixels: settings!.maxPixels,
      emit: (event) => send({ event, of: id }),
      lease: async (name = model) => {
        const { release, ...held } = await pool!.acquire(name, signal);
        leases.push(release);
        return held;
      },
    });
    send({ result, of: id });
  } catch (error) {
    if (!(error instanceof DejaDitError)) console.error(error);
    send({ error: jobError(error), of: id });
  } finally {
    for (const release of leases) release();
    tasks.delete(id);
  }
}

async function end(): Promise<void> {
  for (const controller of tasks.values()) controller.abort();
  await pool?.dispose();
  process.exit(0);
}
