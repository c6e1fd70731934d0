// Draws a picture: node examples/draw.mjs "blue butterfly, 3d style" butterfly.png
import { bundledModel, DejaDitError, DiffusionPipeline, enableCache } from 'deja-dit';

const [prompt = 'red apple, flat style', file = 'apple.png'] = process.argv.slice(2);
const pipe = await DiffusionPipeline.fromPretrained(bundledModel());
enableCache(pipe);
try {
  const { images, seed, timings } = await pipe.generate({
    prompt,
    onStep: ({ step, steps, action }) => console.log(`${step}/${steps} ${action}`),
    signal: AbortSignal.timeout(60_000),
  });
  await images[0].save(file);
  console.log(`${file}  seed ${seed}  ${Math.round(timings.total)} ms`);
} catch (error) {
  if (!(error instanceof DejaDitError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
await pipe.dispose();
await pipe.programs.backend.dispose();
