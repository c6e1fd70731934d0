/** Errors as OpenAI writes them. */
import type { Problem } from '../http/problem.ts';

export function openaiError({ status, message, code, param }: Problem): object {
  return { error: { message, type: typeOf(status), code, param: param ?? null } };
}

function typeOf(status: number): string {
  if (status === 401) return 'authentication_error';
  if (status === 403) return 'permission_error';
  if (status === 429) return 'rate_limit_error';
  return status >= 500 ? 'server_error' : 'invalid_request_error';
}
