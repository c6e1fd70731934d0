/**
 * `deja-dit/ai-sdk`: a server's models as image models of the Vercel AI SDK. A client, of which nothing runs in the server: it needs
 * `fetch` and nothing else, so it works wherever the SDK does.
 */
import type { ImageModelV3, ImageModelV3CallOptions, ImageModelV3File, SharedV3Warning } from '@ai-sdk/provider';
import { DejaDitError } from '../../errors/errors.ts';

export interface DejaDitProviderSettings {
  /** Where the server is. Default `http://127.0.0.1:8000`. */
  baseURL?: string;
  apiKey?: string;
  headers?: Readonly<Record<string, string>>;
  fetch?: typeof fetch;
}

export interface DejaDitProvider {
  /** @param modelId name of a model of the server. Default: its first */
  (modelId?: string): ImageModelV3;
  image(modelId?: string): ImageModelV3;
  imageModel(modelId: string): ImageModelV3;
}

/**
 * Options of the model go under `providerOptions: { dejaDit: { numInferenceSteps: 20, cache: true } }`.
 * @example
 * import { createDejaDit } from 'deja-dit/ai-sdk';
 *
 * const model = createDejaDit({ baseURL: 'http://127.0.0.1:8000' }).image();
 * // const { image } = await generateImage({ model, prompt: 'red apple', seed: 7 });
 */
export function createDejaDit(settings: DejaDitProviderSettings = {}): DejaDitProvider {
  const image = (modelId = ''): ImageModelV3 => ({
    specificationVersion: 'v3',
    provider: 'deja-dit',
    modelId,
    maxImagesPerCall: 10,
    doGenerate: (options) => generate(settings, modelId, options),
  });
  return Object.assign((modelId?: string) => image(modelId), { image, imageModel: image });
}

interface Answer {
  created: number;
  data: { b64_json: string }[];
  warnings: string[];
  model: string;
  seed: number;
  inference_time_s: number;
}

async function generate(
  { baseURL = 'http://127.0.0.1:8000', apiKey, headers, fetch: request = fetch }: DejaDitProviderSettings,
  modelId: string,
  options: ImageModelV3CallOptions,
): Promise<Awaited<ReturnType<ImageModelV3['doGenerate']>>> {
  const { prompt, n, size, aspectRatio, seed, files = [], mask, providerOptions, abortSignal } = options;
  const warnings: SharedV3Warning[] = [];
  if (aspectRatio) warnings.push({ type: 'unsupported', feature: 'aspectRatio', details: 'use size' });
  if (mask) throw new DejaDitError('UNSUPPORTED', 'the models draw whole pictures; leave it out', { path: 'mask' });
  const response = await request(
    `${baseURL.replace(/\/+$/, '')}/v1/images/${files.length > 0 ? 'edits' : 'generations'}`,
    {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
        ...headers,
        ...Object.fromEntries(Object.entries(options.headers ?? {}).filter(([, value]) => value !== undefined)),
      } as Record<string, string>,
      body: JSON.stringify({
        prompt: prompt ?? '',
        n,
        ...(modelId === '' ? {} : { model: modelId }),
        ...(size ? { size } : {}),
        ...(seed === undefined ? {} : { seed }),
        ...(files.length > 0 ? { image: files.map(asText) } : {}),
        ...providerOptions['dejaDit'],
      }),
      ...(abortSignal ? { signal: abortSignal } : {}),
    },
  );
  const body = (await response.json().catch(() => undefined)) as Answer & { error?: { message?: string } };
  if (!response.ok || !body)
    throw new DejaDitError(
      response.status < 500 ? 'INVALID_ARGUMENT' : 'RUNTIME',
      body?.error?.message ?? `the server answers ${response.status}`,
    );
  return {
    images: body.data.map(({ b64_json }) => b64_json),
    warnings: [...warnings, ...body.warnings.map((message): SharedV3Warning => ({ type: 'other', message }))],
    providerMetadata: {
      dejaDit: { images: body.data.map(() => ({ seed: body.seed })), seconds: body.inference_time_s },
    },
    response: {
      timestamp: new Date(body.created * 1000),
      modelId: body.model,
      headers: Object.fromEntries(response.headers),
    },
  };
}

function asText(file: ImageModelV3File): string {
  if (file.type === 'url') return file.url;
  const base64 = typeof file.data === 'string' ? file.data : Buffer.from(file.data).toString('base64');
  return `data:${file.mediaType};base64,${base64}`;
}
