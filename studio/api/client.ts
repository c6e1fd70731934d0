/** Requests to this page's own server: with the key, if it asks for one, and an eye on whether it answers. */
import { signal } from '@preact/signals';

const storedKey = 'deja-dit-key';

/** Kept for this tab alone, and sent in a header, never in an address. */
export const apiKey = signal(sessionStorage.getItem(storedKey) ?? '');

/** `locked`: it answers, and asks for a key. */
export const connection = signal<'connecting' | 'ready' | 'lost' | 'locked'>('connecting');

export class ApiError extends Error {
  constructor(
    /** Of HTTP; 0 if there was no answer. */
    readonly status: number,
    message: string,
    /** The field that is wrong. */
    readonly param?: string,
  ) {
    super(message);
  }
}

export function takeKey(key: string): void {
  apiKey.value = key;
  sessionStorage.setItem(storedKey, key);
  connection.value = 'connecting';
}

export interface RequestOptions {
  method?: 'GET' | 'POST' | 'DELETE';
  /** Sent as JSON. */
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/**
 * @param path as the server writes it; it is taken from where the page lies
 * @throws ApiError for whatever is no success
 */
export async function request(path: string, options: RequestOptions = {}): Promise<Response> {
  const { method = 'GET', body, headers, signal } = options;
  let response: Response;
  try {
    response = await fetch(new URL(path.replace(/^\//, ''), document.baseURI), {
      method,
      headers: {
        ...(apiKey.value ? { authorization: `Bearer ${apiKey.value}` } : {}),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal ? { signal } : {}),
    });
  } catch (cause) {
    if (signal?.aborted) throw cause;
    connection.value = 'lost';
    throw new ApiError(0, 'the server cannot be reached');
  }
  connection.value = response.status === 401 ? 'locked' : 'ready';
  if (response.ok) return response;
  const text = await response.text();
  const error = errorIn(text);
  throw new ApiError(response.status, error.message ?? `the server answered ${response.status}`, error.param);
}

export async function json<Body>(path: string, options?: RequestOptions): Promise<Body> {
  return (await (await request(path, options)).json()) as Body;
}

function errorIn(text: string): { message?: string; param?: string } {
  try {
    return (JSON.parse(text) as { error?: { message?: string; param?: string } }).error ?? {};
  } catch {
    return {};
  }
}
