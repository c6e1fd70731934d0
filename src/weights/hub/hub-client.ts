/**
 * What is asked of a Hugging Face hub over HTTP: the commit of a revision, the files of a commit, the bytes of a file.
 * Failures come out as one line with what to do about them; those that may pass are tried again first. A hub may be a stranger's: its
 * answers are checked, and bounded in size, number and time.
 */
import * as z from 'zod';
import { DejaDitError, throwIfAborted } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { parseJsonValue } from '../../files/json.ts';

export interface HubClientOptions {
  /** Without a slash at the end. */
  hubUrl: string;
  token?: string | undefined;
  fetch: typeof fetch;
  /** How often a request is tried again after a cut connection or an error of the server. */
  retries: number;
  /** Milliseconds with next to no bytes after which a request counts as cut. */
  timeout: number;
  signal?: AbortSignal | undefined;
  advice: HubAdvice;
}

/** What can be done about failures where this runs: a page has no environment variables. Each ends a message. */
export interface HubAdvice {
  /** 401 and 403. */
  refused: string;
  /** 404. */
  missing: string;
  /** 429. */
  limited: string;
  /** No answer, or one that broke off. */
  unreachable: string;
}

/** What a file's bytes are known by. */
export interface Fingerprint {
  size: number;
  /** SHA-256 for large files, Git's own SHA-1 for the others. */
  hash: string;
  algorithm: 'sha256' | 'git';
}

/** A file of the repository; its hash is also the name of its blob. */
export interface RemoteFile extends Fingerprint {
  path: string;
}

/** An answer other than success; `HubClient.retrying` knows what each status means. */
export class StatusError extends Error {
  constructor(readonly statusCode: number) {
    super(`status ${statusCode}`);
  }
}

/** Less is no connection: a model would take months. */
const leastBytesPerSecond = 1024;
/** A page has a thousand files. */
const maxPages = 100;
const maxAnswerBytes = 32_000_000;

/** Hashes become names of files. */
const gitHash = z.string().regex(/^[0-9a-f]{40}$/);
const size = z.number().int().nonnegative();
const listedFile = z.object({
  path: z.string(),
  size,
  oid: gitHash,
  lfs: z.object({ oid: z.string().regex(/^[0-9a-f]{64}$/), size }).nullish(),
});

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
    const { hubUrl } = this.#options;
    const url = `${hubUrl}/api/models/${this.repository}/revision/${encodeURIComponent(revision)}?expand=sha`;
    const { answer } = await this.#ask(url);
    const result = z.object({ sha: gitHash }).safeParse(answer);
    if (result.success) return result.data.sha;
    throw this.#unexpected(`gave ${quote(answer)} as commit`);
  }

  /** All files of a commit. */
  async list(commit: string): Promise<RemoteFile[]> {
    const files: RemoteFile[] = [];
    const { hubUrl } = this.#options;
    let url: string | undefined = `${hubUrl}/api/models/${this.repository}/tree/${commit}?recursive=true`;
    for (let page = 1; url !== undefined; page++) {
      if (page > maxPages) throw this.#unexpected(`lists files on more than ${maxPages} pages`);
      const { answer, next }: { answer: unknown; next: string | undefined } = await this.#ask(url);
      if (!Array.isArray(answer)) throw this.#unexpected(`gave ${quote(answer)} as list of files`);
      for (const entry of answer) {
        if (z.object({ type: z.literal('directory') }).safeParse(entry).success) continue;
        const result = listedFile.safeParse(entry);
        if (!result.success) throw this.#unexpected(`listed ${quote(entry)}`);
        const { path, size, oid, lfs } = result.data;
        files.push(
          lfs
            ? { path, size: lfs.size, hash: lfs.oid, algorithm: 'sha256' }
            : { path, size, hash: oid, algorithm: 'git' },
        );
      }
      url = next;
    }
    return files;
  }

  /** An answer of the API, and the address of the next page if there is one. */
  async #ask(url: string): Promise<{ answer: unknown; next: string | undefined }> {
    const { text, link } = await this.retrying(async (fetch) => {
      const response = await fetch(url);
      if (!response.ok) throw new StatusError(response.status);
      return { text: await this.#textOf(response), link: response.headers.get('Link') };
    });
    const [, next] = /<([^>]+)>\s*;\s*rel="next"/.exec(link ?? '') ?? [];
    try {
      return { answer: parseJsonValue(text, { path: url }), next: next && new URL(next, url).href };
    } catch (cause) {
      throw this.#unexpected('did not answer with JSON', cause);
    }
  }

  async #textOf(response: Response): Promise<string> {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length;
      if (bytes > maxAnswerBytes) throw this.#unexpected(`gives an answer of more than ${maxAnswerBytes} bytes`);
      chunks.push(chunk);
    }
    return new Blob(chunks as Uint8Array<ArrayBuffer>[]).text();
  }

  /** So many bytes of an attempt are progress; fewer within the timeout count as none. */
  get leastProgress(): number {
    return (leastBytesPerSecond * this.#options.timeout) / 1000;
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
        await pause(250 * 2 ** attempt, signal);
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
    const reason = `less than ${leastBytesPerSecond} bytes a second for ${timeout / 1000} s`;
    const wait = () => {
      const timer = setTimeout(() => silence.abort(new Error(reason)), timeout);
      // In Node it would keep the process for an answer that nobody reads.
      (timer as unknown as { unref?(): void }).unref?.();
      return timer;
    };
    let timer = wait();
    const { leastProgress } = this;
    let unheard = 0;
    const signals = signal ? [signal, silence.signal] : [silence.signal];
    const response = await this.#options.fetch(url, { ...init, headers, signal: AbortSignal.any(signals) });
    const heard = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        unheard += chunk.length;
        if (unheard >= leastProgress) {
          unheard = 0;
          clearTimeout(timer);
          timer = wait();
        }
        controller.enqueue(chunk);
      },
      flush: () => clearTimeout(timer),
    });
    return new Response(response.body?.pipeThrough(heard), response);
  }

  /** A failure in one line, and whether trying again may help. */
  #explain(cause: unknown, path: string): { error: DejaDitError; passing: boolean } {
    if (cause instanceof DejaDitError) return { error: cause, passing: false };
    const { hubUrl, advice } = this.#options;
    const failure = (code: 'NETWORK' | 'NOT_FOUND', message: string) =>
      new DejaDitError(code, message, { path, cause });
    const status = (cause as { statusCode?: unknown }).statusCode;
    switch (status) {
      case 401:
      case 403:
        return {
          error: failure('NETWORK', `${hubUrl} refuses access (${status}): ${advice.refused}`),
          passing: false,
        };
      case 404: {
        const message = `${hubUrl} has no such model, revision or file (404): ${advice.missing}`;
        return { error: failure('NOT_FOUND', message), passing: false };
      }
      case 429:
        return {
          error: failure('NETWORK', `${hubUrl} asks for fewer requests (429): ${advice.limited}`),
          passing: true,
        };
    }
    if (typeof status === 'number') {
      const message = `${hubUrl} answered with an error (${status}): try again later`;
      return { error: failure('NETWORK', message), passing: status >= 500 || status === 408 };
    }
    const { code, message } = ((cause as Error).cause ?? cause) as { code?: string; message: string };
    return {
      error: failure('NETWORK', `the connection to ${hubUrl} failed (${code ?? message}): ${advice.unreachable}`),
      passing: true,
    };
  }

  #unexpected(what: string, cause?: unknown): DejaDitError {
    const message = `${this.#options.hubUrl} ${what}: it does not speak the API of a Hugging Face hub`;
    return new DejaDitError('NETWORK', message, { path: this.repository, cause });
  }
}

/** Ends early when the signal fires. */
async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal?.addEventListener('abort', end);
  });
}
