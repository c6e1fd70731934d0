/**
 * Many requests in one process: of mixed sizes, lengths and caches, some aborted on their way, then one of every size of a grid. What
 * they leave is noted after each; what may be left is up to the caller.
 */

/** Caches that re-use in requests of two or three steps. */
const eager = { maxWarmupSteps: 1, residualDiffThreshold: 1 };
const caches = [
  false,
  { cacheConfig: eager },
  { cacheConfig: eager, calibratorConfig: { type: 'taylorseer' } },
  { cacheConfig: { ...eager, cacheType: 'DBPrune' } },
  { cacheConfig: { ...eager, cacheType: 'EasyCache' } },
];

const smallest = 64;
/** What the bundled model's sizes are multiples of. */
const multiple = 16;

/** The same numbers in [0, 1) at every start. */
function* numbers(state = 1) {
  for (;;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

export async function soak({ DiffusionPipeline, ProgramCache, backend, model, requests, sizes, maxBytes, onPoint }) {
  const programs = new ProgramCache(backend, { maxBytes });
  const pipe = await DiffusionPipeline.fromPretrained(model, { programs });
  const weights = backend.live.tensors;
  const ends = { finished: 0, aborted: 0, reused: 0 };
  const request = async (options) => {
    try {
      const { summary } = await pipe.generate({ prompt: 'red apple', ...options });
      ends.finished++;
      if (summary.some(({ cachedSteps }) => cachedSteps.length > 0)) ends.reused++;
    } catch (error) {
      if (error.code !== 'ABORTED') throw error;
      ends.aborted++;
    }
    const { stats } = programs;
    onPoint({ handles: backend.live.tensors - weights, programs: stats.size, programBytes: stats.bytes });
  };
  try {
    const random = numbers();
    // Small ones more often than large ones, as a limit on programs meets them in use.
    const edge = () => smallest + multiple * Math.floor(7 * random.next().value ** 2);
    for (let i = 0; i < requests; i++) {
      const controller = new AbortController();
      await request({
        width: edge(),
        height: edge(),
        numInferenceSteps: 2 + (i % 2),
        seed: i,
        cache: caches[Math.floor(caches.length * random.next().value)],
        signal: controller.signal,
        onStep: ({ step }) => void (i % 7 === 6 && step === 1 && controller.abort()),
      });
    }
    const edges = Array.from({ length: Math.ceil(Math.sqrt(sizes)) }, (_, i) => smallest + multiple * i);
    const grid = edges.flatMap((width) => edges.map((height) => ({ width, height }))).slice(0, sizes);
    for (const size of grid) await request({ ...size, numInferenceSteps: 1, seed: 1, cache: false });
    return { ends, stats: programs.stats };
  } finally {
    await pipe.dispose();
  }
}
