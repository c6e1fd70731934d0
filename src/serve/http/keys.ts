/** API keys: which of them a request brings, compared in constant time. */
import { createHash, timingSafeEqual } from 'node:crypto';

/** Whether a request with these headers may pass. Every key is compared, whichever fits. */
export function keyChecker(keys: readonly string[]): (headers: Headers) => boolean {
  const known = keys.map(digest);
  return (headers) => {
    if (known.length === 0) return true;
    const given = givenKeys(headers).map(digest);
    let found = false;
    for (const key of given) for (const other of known) found = timingSafeEqual(key, other) || found;
    return found;
  };
}

/** `Authorization: Bearer KEY`, `Basic` with the key as password or user, `X-API-Key: KEY`. */
function givenKeys(headers: Headers): string[] {
  const [, scheme, value = ''] = /^(\w+) +(.*)$/.exec(headers.get('authorization') ?? '') ?? [];
  const own = headers.get('x-api-key');
  const keys = own === null ? [] : [own];
  if (scheme?.toLowerCase() === 'bearer') keys.push(value.trim());
  if (scheme?.toLowerCase() === 'basic') {
    const [user = '', ...password] = Buffer.from(value, 'base64').toString().split(':');
    keys.push(password.join(':'), user);
  }
  return keys;
}

/** Of one length, whatever was given. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
