/** Pictures over HTTP: GET /image?prompt=…&seed=…&steps=… answers with WebP. */
import { serve } from '@hono/node-server';
import { bundledModel, DejaDitError, DiffusionPipeline, enableCache } from 'deja-dit';
import { Hono } from 'hono';

// Computing in a thread of its own keeps this one free for requests.
const pipe = await DiffusionPipeline.fromPretrained(bundledModel(), { worker: true });
enableCache(pipe);

/** Requests share the cores, so one at a time is as fast and answers the first sooner. */
let last: Promise<unknown> = Promise.resolve();
function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const result = last.then(work);
  last = result.catch(() => undefined);
  return result;
}

const app = new Hono();

app.get('/image', async (context) => {
  const { prompt, seed, steps = '28' } = context.req.query();
  const { signal } = context.req.raw;
  const { images } = await inTurn(() =>
    // Only what this server means to offer; the pipeline checks the values.
    pipe.generate({
      prompt: prompt ?? '',
      seed: seed === undefined ? undefined : Number(seed),
      numInferenceSteps: Math.min(50, Number(steps)),
      signal,
    }),
  );
  return context.body(await images[0]!.encode('webp'), 200, { 'Content-Type': 'image/webp' });
});

app.onError((error, context) => {
  if (!(error instanceof DejaDitError)) return context.text('internal error', 500);
  const isTheirs = error.code === 'INVALID_ARGUMENT' || error.code === 'SHAPE_MISMATCH';
  return context.text(error.message, isTheirs ? 400 : error.code === 'ABORTED' ? 408 : 500);
});

const server = serve({ fetch: app.fetch, port: Number(process.env['PORT'] ?? 8080) }, ({ port }) =>
  console.log(`http://localhost:${port}/image?prompt=red+apple`),
);
process.once('SIGTERM', () => server.close(() => pipe.dispose()));
