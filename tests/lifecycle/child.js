/**
 * A process that ends in the middle of a request, in the way that its arguments say: `child.js <how> <backend> <count> [delay]`.
 *
 * how: `exit` with code 7, `throw` an error that nobody catches, `terminate` the backend's thread, `dispose` the backend or the
 *   `pipeline`. The last three are done `count` times, each with a pipeline of its own, and must leave the process whole; it then
 *   prints how requests ended.
 * backend: `cpu`, `wasm` or `worker`
 * delay: milliseconds from the request's beginning; default spread over a request
 */
import { createBackend, DiffusionPipeline, ProgramCache } from '../../dist/index.js';

const [how, name, count, delay] = process.argv.slice(2);
const model = new URL('../../models/emoji-flux', import.meta.url).pathname;
const options = name === 'worker' ? { worker: true, threads: 2 } : { backend: name, threads: 1 };

const ends = {};
for (let i = 0; i < Number(count); i++) {
  const backend = await createBackend(options);
  const pipe = await DiffusionPipeline.fromPretrained(model, { programs: new ProgramCache(backend) });
  const request = pipe.generate({ prompt: 'red apple', numInferenceSteps: 1000, width: 64, height: 64, seed: 1 });
  const end = request.then(
    () => 'finished',
    ({ code, message }) => (code === 'DISPOSED' || how === 'terminate' ? code : message),
  );
  await new Promise((resolve) => setTimeout(resolve, Number(delay ?? (i * 37) % 500)));
  if (how === 'exit') process.exit(7);
  if (how === 'throw')
    setImmediate(() => {
      throw new Error('nobody catches this');
    });
  else if (how === 'terminate') await backend.thread.end();
  else if (how === 'pipeline') await pipe.dispose();
  else await backend.dispose();
  const ended = await end;
  ends[ended] = (ends[ended] ?? 0) + 1;
  await pipe.dispose();
  await backend.dispose();
  const { tensors, bytes, programs } = backend.live;
  if (tensors + bytes + programs > 0) throw new Error(`left: ${JSON.stringify(backend.live)}`);
}
console.log(JSON.stringify(ends));
