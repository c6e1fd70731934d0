/**
 * Fetching a URL that a stranger chose, without letting them reach what only this machine can: every address is looked at when the
 * connection is made to it, after redirects too, so that a name which changes its address in between gains nothing.
 */
import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import http from 'node:http';
import https from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';

export interface PublicFetchOptions {
  maxBytes: number;
  /** Milliseconds for all of it. Default 30000. */
  timeout?: number;
  /** Asked for every URL on the way. */
  isAllowed(url: URL): boolean;
  /** Whether an address may be connected to. Default: those of the public internet. */
  isPublic?(address: string): boolean;
  /** Default: the system's. */
  lookup?: typeof dnsLookup;
}

export type PublicFetch = (url: URL, options: PublicFetchOptions) => Promise<Uint8Array<ArrayBuffer>>;

const mostRedirects = 4;

/** @throws Error in a line that is for the client: it says nothing of what was found at a private address */
export const fetchPublic: PublicFetch = async (url, options) => {
  const signal = AbortSignal.timeout(options.timeout ?? 30_000);
  let next = url;
  for (let redirects = 0; redirects <= mostRedirects; redirects++) {
    const found = await get(next, { ...options, signal });
    if (found instanceof Uint8Array) return found;
    next = found;
  }
  throw new Error(`more than ${mostRedirects} redirects`);
};

/** The body, or where it is instead. */
async function get(
  url: URL,
  {
    maxBytes,
    isAllowed,
    isPublic = isPublicAddress,
    lookup = dnsLookup,
    signal,
  }: PublicFetchOptions & { signal: AbortSignal },
): Promise<Uint8Array<ArrayBuffer> | URL> {
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new Error('only http: and https: URLs are fetched');
  if (!isAllowed(url)) throw new Error(`the host '${url.hostname}' is not one that pictures are fetched from`);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  // An address is not looked up, so it is checked here.
  if (isIP(host) !== 0 && !isPublic(host)) throw notPublic;
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const { get } = url.protocol === 'https:' ? https : http;
    // A connection that is kept was made for somebody else's lookup.
    const request = get(url, {
      agent: false,
      signal,
      lookup: publicLookup(lookup, isPublic),
      headers: { accept: 'image/*' },
    });
    request.once('response', resolve).once('error', reject);
  }).catch((error) => {
    throw error === notPublic ? error : new Error(signal.aborted ? 'it takes too long' : 'the host cannot be reached');
  });
  try {
    const { statusCode = 0, headers } = response;
    if (statusCode >= 300 && statusCode < 400 && headers.location !== undefined) {
      if (!URL.canParse(headers.location, url.href)) throw new Error('it redirects to what is no URL');
      return new URL(headers.location, url);
    }
    if (statusCode !== 200) throw new Error(`the host answers ${statusCode}`);
    const parts: Buffer[] = [];
    let size = 0;
    for await (const part of response as AsyncIterable<Buffer>) {
      size += part.length;
      if (size > maxBytes) throw new Error(`it is larger than ${maxBytes} bytes`);
      parts.push(part);
    }
    return new Uint8Array(Buffer.concat(parts));
  } finally {
    response.destroy();
  }
}

const notPublic = new Error('its address is not public');

/** A lookup that fails if any of the addresses is not public, whichever would be taken. */
function publicLookup(lookup: typeof dnsLookup, isPublic: (address: string) => boolean): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
      const refused = error ?? (addresses.every(({ address }) => isPublic(address)) ? null : notPublic);
      if (refused || addresses.length === 0) return callback(refused ?? new Error('no address'), '', 0);
      const [{ address, family }] = addresses as [LookupAddress];
      if (options.all) callback(null, addresses);
      else callback(null, address, family);
    });
  };
}

/** Addresses that are not on the public internet (RFC 6890 and what was added since). */
const reserved = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const)
  reserved.addSubnet(network, prefix, 'ipv4');
/** Of IPv6 only global unicast is public, without what stands for other networks. */
const globalUnicast = new BlockList();
globalUnicast.addSubnet('2000::', 3, 'ipv6');
for (const [network, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const)
  reserved.addSubnet(network, prefix, 'ipv6');

export function isPublicAddress(address: string): boolean {
  const [bare = ''] = address.split('%');
  if (isIP(bare) === 4) return !reserved.check(bare, 'ipv4');
  return isIP(bare) === 6 && globalUnicast.check(bare, 'ipv6') && !reserved.check(bare, 'ipv6');
}
