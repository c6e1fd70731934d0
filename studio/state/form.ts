/** What the form holds, what is wrong with it, and what comes of it: a job, or two that are compared. */
import { computed, signal } from '@preact/signals';
import { ApiError, connection } from '../api/client.ts';
import type { JobView } from '../api/types.ts';
import { type CacheChoice, cacheChoice, cacheSent, cacheWrong, initialCache } from '../form/cache-settings.ts';
import { asSent, asTyped, fieldsOf, ofPictures, wrongWith } from '../form/fields.ts';
import { submit } from './jobs.ts';
import { model, modelName } from './models.ts';
import { show } from './route.ts';
import { stored } from './stored.ts';

export const prompt = stored('prompt', 'red apple, flat style');
export const negativePrompt = stored('negative-prompt', '');
/** As typed; none: a new one each time. */
export const seed = stored('seed', '');
/** What differs from the defaults, by name, as typed. */
export const values = stored<Readonly<Record<string, unknown>>>('values', {});
export const cache = stored<CacheChoice>('cache', initialCache);
export const previews = stored('previews', 4);
/** By name, as data: URLs. They are too large to be kept. */
export const pictures = signal<Readonly<Record<string, readonly string[]>>>({});

export const hasPicture = computed(() => Object.values(pictures.value).some((list) => list.length > 0));

/** By field; what concerns none is under `''`. */
export const errors = signal<Readonly<Record<string, string>>>({});
export const submitting = signal(false);
/** Whether there is anything that could draw now. */
export const ready = computed(
  () => model.value?.state === 'loaded' && connection.value === 'ready' && !submitting.value,
);

/** The jobs that this form made, whose errors are its own. */
const own = new Set<string>();

export const fields = computed(() => fieldsOf(model.value));

export function setValue(name: string, value: unknown): void {
  const { [name]: _, ...others } = values.value;
  const isDefault = value === undefined || value === '' || value === fields.value.all.get(name)?.default;
  values.value = isDefault ? others : { ...others, [name]: value };
  clearError(name);
}

export function clearError(name: string): void {
  const { [name]: _, '': general, ...others } = errors.value;
  errors.value = others;
}

/** @returns the body of a request; undefined if something is wrong, which `errors` says */
function body(): Record<string, unknown> | undefined {
  const { all } = fields.value;
  const wrong: Record<string, string> = {};
  const given = [...all.values()].filter(
    ({ name }) => values.value[name] !== undefined && (hasPicture.value || !ofPictures.includes(name)),
  );
  for (const field of given) {
    const reason = wrongWith(field, values.value[field.name]);
    if (reason) wrong[field.name] = reason;
  }
  const reason = cacheWrong(cache.value);
  if (reason) wrong['cache'] = reason;
  const subject = all.has('prompt') ? 'prompt' : 'classLabels';
  if (prompt.value.trim() === '' && all.get(subject)?.required) wrong['prompt'] = 'say what to draw';
  if (seed.value !== '' && !/^-?\d+$/.test(seed.value))
    wrong['seed'] = 'must be a whole number, or nothing for a new one';
  errors.value = wrong;
  if (Object.keys(wrong).length > 0) return undefined;
  const settings = cacheSent(cache.value);
  return {
    model: model.value?.id,
    ...(prompt.value.trim() === '' ? {} : { prompt: prompt.value }),
    ...(negativePrompt.value && all.has('negativePrompt') ? { negativePrompt: negativePrompt.value } : {}),
    ...Object.fromEntries(given.map((field) => [field.name, asSent(field, values.value[field.name])])),
    ...Object.fromEntries(
      Object.entries(pictures.value)
        .filter(([name, list]) => all.has(name) && list.length > 0)
        .map(([name, list]) => [name, list.length === 1 ? list[0] : list]),
    ),
    seed: seed.value || randomSeed(),
    ...(settings === undefined ? {} : { cache: settings }),
    ...(previews.value > 0 ? { previews: { count: previews.value, maxSize: 512 } } : {}),
  };
}

export const randomSeed = (): string => String(crypto.getRandomValues(new Uint32Array(1))[0]);

export const draw = (): Promise<void> => send((job) => show({ kind: 'job', id: job.id }));

/** The same request twice: with its cache, and then, when that is done, without. */
export const compare = (): Promise<void> =>
  send(
    (job) => show({ kind: 'compare', cached: job.id }),
    (request) => ({
      ...request,
      cache: request['cache'] === false || request['cache'] === undefined ? {} : request['cache'],
      // Each preview takes time, which is compared.
      previews: undefined,
      output: { format: 'png' },
    }),
  );

async function send(
  then: (job: JobView) => void,
  change: (request: Record<string, unknown>) => Record<string, unknown> = (request) => request,
): Promise<void> {
  const request = ready.value ? body() : undefined;
  if (!request) return;
  submitting.value = true;
  try {
    const job = await submit(change(request));
    own.add(job.id);
    then(job);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    tell(error.message, error.param);
  } finally {
    submitting.value = false;
  }
}

/** Takes the error of a job that this form made. */
export function tellOf({ id, error }: JobView): void {
  if (error && own.delete(id)) tell(error.message, error.path);
}

function tell(message: string, path = ''): void {
  const [head = ''] = path.split(/[.[]/);
  const name = ['cacheConfig', 'calibratorConfig'].includes(head) ? 'cache' : head;
  const known = name === 'prompt' || name === 'seed' || fields.value.all.has(name);
  errors.value = { [known ? name : '']: message.replace(new RegExp(`^${head}: `), '') };
}

/** Fills the form with what a job was asked with, and of which model. Pictures are the server's to know. */
export function takeSettings({ options, report, model: name }: JobView): void {
  modelName.value = name;
  if (!options) return;
  const { all } = fields.value;
  prompt.value = [options['prompt'] ?? options['classLabels'] ?? ''].flat().join(', ');
  negativePrompt.value = String([options['negativePrompt'] ?? ''].flat()[0]);
  seed.value = String([report?.seed ?? options['seed'] ?? ''].flat()[0]);
  cache.value = cacheChoice(options['cache']);
  const given = Object.entries(options).filter(([option]) => {
    const field = all.get(option);
    return (
      field &&
      field.kind !== 'picture' &&
      !['prompt', 'negativePrompt', 'classLabels', 'seed', 'cache'].includes(option)
    );
  });
  values.value = Object.fromEntries(given.map(([option, value]) => [option, asTyped(all.get(option)!, value)]));
  errors.value = {};
}
