/**
 * What is asked of a Hugging Face hub over HTTP: the commit of a revision, the files of a commit, the bytes of a file.
 * Failures come out as one line with what to do about them; those that may pass are tried again first.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { DejaDitError, throwIfAborted } from '../errors/errors.ts';
import { isCommit } from './hub-cache.ts';
import { quote } from './json.ts';

export interface HubClientOptions {
  /** Without a slash at the end. */
  hubUrl: string;
  token?: string | undefined;
  fetch: typeof fetch;
  /** How often a request is tried again after a cut connection or an error of the server. */
  retries: number;
  /** Milliseconds without a byte after which a request counts as cut. */
  timeout: number;
  signal?: AbortSignal | undefined;
}

export interface RemoteFile {
  path: string;
  size: number;
  /** The name of its blob, and the hash to check it by: SHA-256 for large files, Git's own SHA-1 for the others. */
  hash: string;
  algorithm: 'sha256' | 'git';
}

export class HubClient {
  readonly #options: HubClientOptions;
  readonly repository: string;

  constructor(repository: string, options: HubClientOptions) {
    this.repository = repository;
    this.#options = options;
  }

  /** The same hub and repository, asked in another way. */
  with(changes: Partial<HubClientOptions>): HubClient {
    return new HubClient(this.repository, { ...this.#options, ...changes });
  }

  /** The commit that a branch, a tag or a commit's own name stands for. */
  async commitOf(revision: string): Promise<string> {
    const { modelInfo } = await import('@huggingface/hub');
    const { sha } = await this.retrying(async (fetch) => {
      const { hubUrl } = this.#options;
      return modelInfo({ name: this.repository, revision, hubUrl, fetch, additionalFields: ['sha'] });
    });
    if (typeof sha !== 'string' || !isCommit(sha)) throw this.#unexpected(`gave ${quote(sha)} as commit`);
    return sha;
  }

  /** All files of a commit. */
  async list(commit: string): Promise<RemoteFile[]> {
    const { listFiles } = await import('@huggingface/hub');
    const entries = await this.retrying(async (fetch) => {
      const found = [];
      const { hubUrl } = this.#options;
      const listing = listFiles({ repo: this.repository, revision: commit, recursive: true, hubUrl, fetch });
      for await (const entry of listing) if (entry.type === 'file') found.push(entry);
      return found;
    });
    return entries.map(({ path, size, oid, lfs }) => {
      const file = lfs
        ? { path, size: lfs.size, hash: lfs.oid, algorithm: 'sha256' as const }
        : { path, size, hash: oid ?? '', algorithm: 'git' as const };
      // The hash becomes the name of a file.
      const isHash = lfs ? /^[0-9a-f]{64}$/.test(file.hash) : isCommit(file.hash);
      if (typeof path !== 'string' || !Number.isSafeInteger(file.size) || file.size < 0 || !isHash) {
        throw this.#unexpected(`listed ${quote({ path, size: file.size, hash: file.hash })}`);
      }
      return file;
    });
  }

  /** The address of a file's bytes. */
  url(commit: string, path: string): string {
    return `${this.#options.hubUrl}/${this.repository}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`;
  }

  /**
   * Calls `run` until it succeeds, with growing pauses; at once gives up what trying again cannot mend.
   * @param run gets a fetch that carries the token and ends when the caller aborts or the server falls silent
   * @param path what is fetched, for error messages
   * @param progressed true if the failed attempt still brought something new, so that it does not count
   */
  async retrying<T>(
    run: (fetch: typeof globalThis.fetch) => Promise<T>,
    { path = this.repository, progressed }: { path?: string; progressed?: () => boolean } = {},
  ): Promise<T> {
    const { signal, retries } = this.#options;
    for (let attempt = 0; ; attempt++) {
      throwIfAborted(signal);
      try {
        return await run((input, init) => this.#fetch(input as string | URL, init));
      } catch (error) {
        throwIfAborted(signal);
        if (progressed?.()) attempt = 0;
        const failure = this.#explain(error, path);
        if (!failure.passing || attempt >= retries) throw failure.error;
        await sleep(250 * 2 ** attempt, undefined, { signal }).catch(() => {});
      }
    }
  }

  async #fetch(input: string | URL, init: RequestInit = {}): Promise<Response> {
    const { token, hubUrl, signal, timeout } = this.#options;
    const url = new URL(input);
    const headers = new Headers(init.headers);
    headers.set('User-Agent', 'deja-dit');
    // Sizes and ranges are those of the stored bytes, which a compressed answer would hide.
    headers.set('Accept-Encoding', 'identity');
    if (token !== undefined && url.origin === new URL(hubUrl).origin) headers.set('Authorization', `Bearer ${token}`);

    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(new Error(`nothing received for ${timeout / 1000} s`)), timeout);
    timer.unref();
    const signals = signal ? [signal, silence.signal] : [silence.signal];
    const response = await this.#options.fetch(url, { ...init, headers, signal: AbortSignal.any(signals) });
    const heard = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        timer.refresh();
        controller.enqueue(chunk);
      },
      flush: () => clearTimeout(timer),
    });
    return new Response(response.body?.pipeThrough(heard), response);
  }

  /** A failure in one line, and whether trying again may help. */
  #explain(cause: unknown, path: string): { error: DejaDitError; passing: boolean } {
    if (cause instanceof DejaDitError) return { error: cause, passing: false };
    const { hubUrl } = this.#options;
    const failure = (code: 'NETWORK' | 'NOT_FOUND', message: string) =>
      new DejaDitError(code, message, { path, cause });
    const status = (cause as { statusCode?: unknown }).statusCode;
    switch (status) {
      case 401:
      case 403: {
        const advice = 'check the name, accept the licence on its page if it has one, and set HF_TOKEN';
        return { error: failure('NETWORK', `${hubUrl} refuses access (${status}): ${advice}`), passing: false };
      }
      case 404: {
        const message = `${hubUrl} has no such model, revision or file (404): check the name and the revision`;
        return { error: failure('NOT_FOUND', message), passing: false };
      }
      case 429: {
        const message = `${hubUrl} asks for fewer requests (429): wait some minutes, or set HF_TOKEN for a higher limit`;
        return { error: failure('NETWORK', message), passing: true };
      }
    }
    if (typeof status === 'number') {
      const message = `${hubUrl} answered with an error (${status}): try again later`;
      return { error: failure('NETWORK', message), passing: status >= 500 || status === 408 };
    }
    if (cause instanceof SyntaxError)
      return { error: this.#unexpected('did not answer with JSON', cause), passing: false };
    const { code, message } = ((cause as Error).cause ?? cause) as NodeJS.ErrnoException;
    const advice =
      'check it and try again, downloads continue where they stopped; HF_HUB_OFFLINE=1 uses only the cache';
    return {
      error: failure('NETWORK', `the connection to ${hubUrl} failed (${code ?? message}): ${advice}`),
      passing: true,
    };
  }

  #unexpected(what: string, cause?: unknown): DejaDitError {
    const message = `${this.#options.hubUrl} ${what}: it does not speak the API of a Hugging Face hub`;
    return new DejaDitError('NETWORK', message, { path: this.repository, cause });
  }
}
