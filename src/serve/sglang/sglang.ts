/**
 * What SGLang Diffusion has beside the routes that it shares with OpenAI: LoRAs for all requests, and what the server says of itself. Errors
 * are `{ detail }`. A LoRA stays beside the weights here, so to merge one is to let it act.
 */
import { z } from '@hono/zod-openapi';
import type { Core, Skin } from '../core.ts';
import { endpoint, readJson } from '../http/endpoint.ts';
import { finishedFor } from '../http/finished-for.ts';
import { Problem, problemOfJob } from '../http/problem.ts';
import { loraName, type Strengths } from '../loras.ts';

const tag = 'sglang';

const oneOrMore = <T extends z.ZodType>(one: T) => z.union([one, z.array(one)]);
const targets = z.enum(['all', 'transformer', 'transformer_2', 'critic'], "expected 'all' or 'transformer'");

const setLoraBody = z.object({
  lora_nickname: oneOrMore(z.string()).describe('what it is called from now on'),
  lora_path: oneOrMore(z.string().nullable()).nullish().describe('its name in --lora-dir; default: the nickname'),
  target: oneOrMore(targets).nullish(),
  strength: oneOrMore(z.number()).nullish().describe('default 1'),
  merge_mode: z.string().nullish(),
  lora_alpha: z.null().optional().describe('the one of the file counts'),
});
const mergeBody = z.object({ target: targets.nullish(), strength: z.number().nullish().describe('default 1') });

interface Adapter {
  nickname: string;
  /** Its name in the server's list. */
  name: string;
  strength: number;
}

export const sglangSkin: Skin = {
  name: tag,
  paths: [
    '/v1/set_lora',
    '/v1/merge_lora_weights',
    '/v1/unmerge_lora_weights',
    '/v1/list_loras',
    '/server_info',
    '/get_server_info',
    '/model_info',
    '/liveness',
    '/health_generate',
  ],
  error: ({ message }) => ({ detail: message }),
  routes(app, core) {
    /** By nickname: all that were set. */
    const known = new Map<string, Adapter>();
    /** Those that were set last. */
    let current: Adapter[] = Object.entries(core.loras.active).map(([name, strength]) => ({
      nickname: name,
      name,
      strength,
    }));
    for (const adapter of current) known.set(adapter.nickname, adapter);
    const activate = (adapters: readonly Adapter[]) => {
      core.loras.active = strengthsOf(adapters);
    };
    const said = (message: string) => ({ status: 'ok', message });

    endpoint(
      app,
      {
        method: 'post',
        path: '/v1/set_lora',
        tag,
        summary: 'LoRAs for all requests that name none',
        body: setLoraBody,
      },
      async (context) => {
        const adapters = adaptersOf(await readJson(context, setLoraBody), { core, known });
        await tryOut(core, strengthsOf(adapters), context.req.raw.signal);
        current = adapters;
        for (const adapter of adapters) known.set(adapter.nickname, adapter);
        activate(current);
        const names = adapters.map(({ nickname, strength }) => `${nickname} (strength ${strength})`);
        return context.json(
          said(`LoRAs of requests that name none: ${names.join(', ')}; they stay beside the weights`),
        );
      },
    );
    endpoint(
      app,
      {
        method: 'post',
        path: '/v1/merge_lora_weights',
        tag,
        summary: 'Lets them act again, at a strength',
        body: mergeBody,
      },
      async (context) => {
        const { target, strength } = await readJson(context, mergeBody);
        checkTarget(core, target);
        if (current.length === 0) throw new Problem(400, 'no LoRA was set; POST /v1/set_lora first');
        if (typeof strength === 'number') current = current.map((adapter) => ({ ...adapter, strength }));
        activate(current);
        return context.json(said('the LoRAs that were set act'));
      },
    );
    endpoint(
      app,
      { method: 'post', path: '/v1/unmerge_lora_weights', tag, summary: 'Lets them act no longer', body: mergeBody },
      async (context) => {
        checkTarget(core, (await readJson(context, mergeBody)).target);
        activate([]);
        return context.json(said('no LoRA acts on requests that name none'));
      },
    );
    endpoint(
      app,
      { method: 'get', path: '/v1/list_loras', tag, summary: 'LoRAs that there are, and that act' },
      (context) => {
        const acting = core.loras.active;
        const active = current.filter(({ name }) => Object.hasOwn(acting, name));
        const view = active.map(({ nickname, name, strength }) => ({ nickname, path: name, merged: false, strength }));
        return context.json({
          loaded_adapters: [...known.values()].map(({ nickname, name }) => ({ nickname, path: name })),
          active: view.length > 0 ? Object.fromEntries(transformersOf(core).map((name) => [name, view])) : {},
          available: core.loras.names,
        });
      },
    );

    for (const path of ['/server_info', '/get_server_info'])
      endpoint(app, { method: 'get', path, tag, summary: 'What the server was started with' }, (context) =>
        context.json(serverInfo(core)),
      );
    endpoint(app, { method: 'get', path: '/model_info', tag, summary: 'The default model' }, (context) =>
      context.json(modelInfo(core)),
    );
    endpoint(
      app,
      { method: 'get', path: '/liveness', tag, summary: 'OK while the server answers', answer: 'text/plain' },
      (context) => context.text('OK'),
    );
    endpoint(
      app,
      { method: 'get', path: '/health_generate', tag, summary: 'OK if it has just drawn', answer: 'text/plain' },
      async (context) => {
        const why = core.notReady();
        if (why !== undefined) return context.text(why, 503);
        await tryOut(core, undefined, context.req.raw.signal);
        return context.text('OK');
      },
    );
  },
};

function adaptersOf(
  { lora_nickname, lora_path, target, strength }: z.infer<typeof setLoraBody>,
  { core, known }: { core: Core; known: ReadonlyMap<string, Adapter> },
): Adapter[] {
  const nicknames = [lora_nickname].flat();
  const each = <T>(value: T | T[] | null | undefined, param: string): (T | undefined)[] => {
    if (!Array.isArray(value)) return nicknames.map(() => value ?? undefined);
    if (value.length === nicknames.length) return value;
    throw new Problem(400, `has ${value.length} items for ${nicknames.length} LoRAs`, { param });
  };
  const [paths, strengths] = [each(lora_path, 'lora_path'), each(strength, 'strength')];
  for (const one of each(target, 'target')) checkTarget(core, one);
  if (nicknames.length === 0) throw new Problem(400, 'is empty', { param: 'lora_nickname' });
  return nicknames.map((nickname, i) => ({
    nickname,
    name: paths[i]
      ? core.loras.require(loraName(paths[i]), 'lora_path')
      : (known.get(nickname)?.name ?? core.loras.require(nickname, 'lora_nickname')),
    strength: strengths[i] ?? 1,
  }));
}

/** @throws Problem for a part of a model: a LoRA acts on all transformers that it has tensors for */
function checkTarget(core: Core, target: string | null | undefined): void {
  if (target === null || target === undefined || target === 'all') return;
  const [only, ...others] = transformersOf(core);
  if (target === only && others.length === 0) return;
  throw new Problem(400, 'a LoRA acts on all transformers that it has tensors for; leave it out', { param: 'target' });
}

const strengthsOf = (adapters: readonly Adapter[]): Strengths =>
  Object.fromEntries(adapters.map(({ name, strength }) => [name, strength]));

function transformersOf(core: Core): readonly string[] {
  const { now } = core.models.list()[0]!;
  return now.state === 'loaded' ? now.info.transformers : ['transformer'];
}

/** Takes one step with them, in its turn: what does not fit is told before it becomes everybody's. */
async function tryOut(core: Core, loras: Strengths | undefined, signal: AbortSignal): Promise<void> {
  const { now } = core.models.list()[0]!;
  const isPrompt = now.state !== 'loaded' || now.info.subject === 'prompt';
  const options = {
    ...(isPrompt ? { prompt: '' } : { classLabels: 0 }),
    seed: 0,
    numInferenceSteps: 1,
    ...(loras ? { loras } : {}),
  };
  // Whoever asks after the server's health does not want to know how long its queue is.
  const { id } = core.jobs.submit({ kind: 'generate', client: tag, priority: 1000, input: { options } });
  const { error } = await finishedFor(core, id, signal);
  core.jobs.forget(id);
  if (error) throw problemOfJob(error, core.jobs.retryAfter);
}

function modelInfo(core: Core): object {
  const { name, now } = core.models.list()[0]!;
  const isLoaded = now.state === 'loaded';
  return {
    model_path: isLoaded ? now.info.path : name,
    task_type: isLoaded && now.info.output === 'videos' ? 'T2V' : 'T2I',
    pipeline_name: isLoaded ? now.info.className : null,
    pipeline_class: isLoaded ? now.info.className : null,
    num_gpus: 0,
    dit_precision: 'fp32',
    vae_precision: 'fp32',
    state: now.state,
  };
}

function serverInfo(core: Core): object {
  const { models, concurrency, maxQueued, timeout, maxPixels, maxSteps, maxImages, maxFrames } = core.settings;
  return {
    ...modelInfo(core),
    models: models.map(({ name }) => name),
    lora_adapters: core.loras.names,
    enable_cache_dit: core.settings.cache !== undefined,
    max_running_requests: concurrency,
    max_queued_requests: maxQueued,
    limits: { timeout, maxPixels, maxSteps, maxImages, maxFrames },
    ...core.jobs.counts,
    uptime_s: (Date.now() - core.startedAt) / 1000,
  };
}
