/** What can go wrong with a request, before it gets the shape that its protocol has for errors. */
import { HTTPException } from 'hono/http-exception';
import { DejaDitError } from '../../errors/errors.ts';
import type { JobError } from '../jobs/job.ts';
import { jobError } from '../jobs/jobs.ts';

type Status = 400 | 401 | 403 | 404 | 405 | 408 | 409 | 413 | 415 | 422 | 429 | 499 | 500 | 501 | 503 | 504;

export interface ProblemDetails {
  /** A word for programs. Default: one that fits the status. */
  code?: string | undefined;
  /** The field that is wrong. */
  param?: string | undefined;
  /** Seconds after which to try again. */
  retryAfter?: number | undefined;
  cause?: unknown;
}

export class Problem extends Error {
  readonly code: string;
  readonly param: string | undefined;
  readonly retryAfter: number | undefined;

  constructor(
    readonly status: Status,
    message: string,
    { code, param, retryAfter, cause }: ProblemDetails = {},
  ) {
    const prefix = param === undefined ? '' : `${param}: `;
    super(message.startsWith(prefix) ? message : prefix + message, cause === undefined ? undefined : { cause });
    this.code = code ?? codes[status];
    this.param = param;
    this.retryAfter = retryAfter;
  }
}

const codes: Readonly<Record<Status, string>> = {
  400: 'invalid_request',
  401: 'invalid_api_key',
  403: 'forbidden',
  404: 'not_found',
  405: 'method_not_allowed',
  408: 'timeout',
  409: 'conflict',
  413: 'too_large',
  415: 'unsupported_media_type',
  422: 'invalid_request',
  429: 'queue_full',
  499: 'cancelled',
  500: 'internal_error',
  501: 'not_implemented',
  503: 'unavailable',
  504: 'timeout',
};

const statuses: Readonly<Record<JobError['code'], Status>> = {
  INVALID_ARGUMENT: 400,
  INVALID_CONFIG: 400,
  INVALID_FILE: 400,
  SHAPE_MISMATCH: 400,
  UNSUPPORTED: 400,
  NOT_FOUND: 404,
  MISSING_WEIGHT: 500,
  NETWORK: 500,
  BUSY: 429,
  ABORTED: 499,
  TIMEOUT: 504,
  DISPOSED: 503,
  RANK_FAILED: 500,
  RUNTIME: 500,
};

/** @param retryAfter seconds, for what is only full now */
export function problemOf(error: unknown, retryAfter?: number): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof HTTPException)
    return new Problem(error.status as Status, error.message || 'the request is wrong');
  if (error instanceof DejaDitError) return problemOfJob(jobError(error), retryAfter);
  // A body that is no JSON, from whichever parser.
  if (error instanceof SyntaxError) return new Problem(400, 'the body is not valid JSON', { code: 'invalid_json' });
  return new Problem(500, 'internal error', { cause: error });
}

/** What to answer for a job that failed. */
export function problemOfJob({ code, message, path }: JobError, retryAfter?: number): Problem {
  const status = statuses[code];
  return new Problem(status, message, {
    param: status < 500 ? path : undefined,
    ...(status === 429 ? { retryAfter } : {}),
  });
}
