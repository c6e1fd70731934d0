/** The page: draws the same picture twice, cached and computed in full, and shows what each step did. */
import { DiffusionPipeline, dropped, toImageData } from 'deja-dit/web';
import { keepPage } from './offline.js';

const find = (id) => document.getElementById(id);
const [form, button, bar, status] = ['form', 'draw', 'bar', 'status'].map(find);

/** What is loaded: from where, and what computes. */
let loaded;
let source = new URLSearchParams(location.search).get('model') ?? './model';

async function pipeline(backend) {
  if (loaded?.backend === backend && loaded.source === source) return loaded.pipe;
  await loaded?.pipe.dispose();
  loaded = undefined;
  const threads = crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency) : 1;
  const pipe = await DiffusionPipeline.fromPretrained(source, {
    backend,
    worker: true,
    ...(backend === 'wasm' ? { threads } : {}),
    onProgress({ overall: { received, total } }) {
      bar.value = received / total;
      say(`Loading the model: ${megabytes(received)} of ${megabytes(total)}`);
    },
  });
  // The first request compiles; the two that are compared shall not.
  say('Warming up');
  const numInferenceSteps = Math.min(10, Number(find('steps').value));
  for (const cache of [{}, false]) await pipe.generate({ prompt: 'warm', seed: 0, numInferenceSteps, cache });
  loaded = { backend, source, pipe };
  return pipe;
}

async function draw(card, pipe, cache) {
  const strip = card.querySelector('.strip');
  const steps = Number(find('steps').value);
  strip.replaceChildren(...Array.from({ length: steps }, () => document.createElement('li')));
  const { images, timings } = await pipe.generate({
    prompt: find('prompt').value,
    seed: Number(find('seed').value),
    numInferenceSteps: steps,
    cache,
    async onStep({ step, action, preview }) {
      strip.children[step - 1].className = action;
      if (step % 4 === 0) show(card, (await preview())[0]);
    },
  });
  show(card, images[0]);
  const seconds = timings.total / 1000;
  card.querySelector('.figures').textContent = `${seconds.toFixed(1)} s · ${memory()}`;
  return seconds;
}

function show(card, image) {
  const canvas = card.querySelector('canvas');
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext('2d').putImageData(toImageData(image), 0, 0);
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  button.disabled = true;
  try {
    const pipe = await pipeline(find('backend').value);
    bar.value = 1;
    say('Drawing');
    const cached = await draw(find('cached'), pipe, {});
    const plain = await draw(find('plain'), pipe, false);
    find('cached').querySelector('em').textContent = `${(plain / cached).toFixed(1)} times as fast`;
    say('Done');
  } catch (error) {
    say(`Failed: ${error.message}`);
  } finally {
    button.disabled = false;
  }
});

addEventListener('dragover', (event) => event.preventDefault());
addEventListener('drop', async (event) => {
  event.preventDefault();
  source = await dropped(event.dataTransfer);
  form.requestSubmit();
});
find('folder').addEventListener('change', ({ target }) => {
  source = [...target.files];
  form.requestSubmit();
});

const say = (text) => {
  status.textContent = text;
};
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;
const memory = () => (performance.memory ? `${megabytes(performance.memory.usedJSHeapSize)} in use` : '');

// A link may say what to draw, and with which model: ?prompt=green+leaf&steps=10&model=https://…
for (const [id, value] of new URLSearchParams(location.search)) if (form.elements[id]) form.elements[id].value = value;

// The page draws, kept or not.
await keepPage().catch((error) => console.warn(error));
form.requestSubmit();
