/** URLs of strangers, over real connections on the loopback, where "public" is what a test says it is. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, describe, expect, it } from 'vitest';
import { fetchPublic, isPublicAddress, type PublicFetchOptions } from './fetch-public.ts';

const servers: Server[] = [];
afterAll(() =>
  Promise.all(
    servers.map(
      (server) =>
        new Promise((resolve) => {
          server.closeAllConnections();
          server.close(resolve);
        }),
    ),
  ),
);
async function serve(listener: RequestListener): Promise<URL> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  servers.push(server);
  await new Promise((resolve) => server.once('listening', resolve));
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
}
const options = (more: Partial<PublicFetchOptions> = {}): PublicFetchOptions => ({
  maxBytes: 1000,
  isAllowed: () => true,
  isPublic: () => true,
  ...more,
});
/** A name server that answers each question with the next of these. */
const naming = (...addresses: string[][]) =>
  ((_: string, __: object, callback: (error: null, found: object[]) => void) => {
    const found = addresses.length > 1 ? addresses.shift()! : addresses[0]!;
    callback(
      null,
      found.map((address) => ({ address, family: 4 })),
    );
  }) as unknown as NonNullable<PublicFetchOptions['lookup']>;

const publicOnes = ['8.8.8.8', '2606:4700::1'];
const ipv4 =
  '0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 127.9.9.9 169.254.169.254 172.16.0.1 172.31.255.255 192.168.1.1 198.18.0.1 224.0.0.1';
const ipv6 =
  ':: ::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 fe80::1%eth0 fc00::1 fd12::1 64:ff9b::7f00:1 2002:7f00:1:: 2001:db8::1 ff02::1';
it.each(publicOnes)('%s is public', (address) => expect(isPublicAddress(address)).toBe(true));
it.each([...ipv4.split(' '), ...ipv6.split(' '), 'localhost', ''])('%s is not public', (address) =>
  expect(isPublicAddress(address)).toBe(false));

describe('fetchPublic', () => {
  it('fetches, and follows redirects', async () => {
    const end = await serve((_, response) => response.end('picture'));
    const start = await serve((_, response) => response.writeHead(302, { location: end.href }).end());
    expect(Buffer.from(await fetchPublic(start, options())).toString()).toBe('picture');
  });

  it('connects to no address that is not public: given, looked up, or come to by a redirect', async () => {
    const secret = await serve((_, response) => response.end('secret'));
    const real = { isPublic: isPublicAddress };
    await expect(fetchPublic(secret, options(real))).rejects.toThrow(/not public/);
    await expect(fetchPublic(new URL(`http://[::ffff:127.0.0.1]:${secret.port}/`), options(real))).rejects.toThrow(
      /not public/,
    );
    await expect(fetchPublic(new URL(`http://2130706433:${secret.port}/`), options(real))).rejects.toThrow(
      /not public/,
    );
    const named = new URL(`http://inside.example:${secret.port}/`);
    await expect(fetchPublic(named, options({ ...real, lookup: naming(['127.0.0.1']) }))).rejects.toThrow(/not public/);
    // One public address among others does not help.
    await expect(fetchPublic(named, options({ ...real, lookup: naming(['8.8.8.8', '127.0.0.1']) }))).rejects.toThrow(
      /not public/,
    );
    const open = await serve((_, response) => response.writeHead(301, { location: named.href }).end());
    const onlyFirst = (address: string) => address === '127.0.0.1' && !asked++;
    let asked = 0;
    await expect(fetchPublic(open, options({ isPublic: onlyFirst, lookup: naming(['127.0.0.1']) }))).rejects.toThrow(
      /not public/,
    );
  });

  it('looks at the very address that it connects to, so that a changing name gains nothing', async () => {
    const secret = await serve((_, response) => response.end('secret'));
    const lookup = naming(['8.8.8.8'], ['127.0.0.1']);
    const rebound = new URL(`http://rebound.example:${secret.port}/`);
    const first = fetchPublic(rebound, options({ isPublic: isPublicAddress, lookup, timeout: 300 }));
    await expect(first).rejects.toThrow(/too long|cannot be reached/);
    await expect(fetchPublic(rebound, options({ isPublic: isPublicAddress, lookup }))).rejects.toThrow(/not public/);
  });

  const away: [string, RequestListener, RegExp][] = [
    ['to more than it may be', (_, response) => void response.end('x'.repeat(2000)), /larger than 1000/],
    ['in circles', (request, response) => void response.writeHead(302, { location: request.url! }).end(), /redirects/],
    ['to nothing', (_, response) => void response.writeHead(404).end(), /answers 404/],
    ['to a file', (_, response) => void response.writeHead(302, { location: 'file:///etc/passwd' }).end(), /only http/],
    ['to no end', (_, response) => void response.write('x'), /./],
  ];
  it.each(away)('ends where it leads %s', async (_, listener, message) => {
    await expect(fetchPublic(await serve(listener), options({ timeout: 500 }))).rejects.toThrow(message);
  });

  it('asks for every host on the way whether it is allowed', async () => {
    const end = await serve((_, response) => response.end('picture'));
    const start = await serve((_, response) =>
      response.writeHead(302, { location: `http://localhost:${end.port}/` }).end(),
    );
    const isAllowed = ({ hostname }: URL) => hostname === '127.0.0.1';
    await expect(fetchPublic(start, options({ isAllowed }))).rejects.toThrow(/'localhost' is not one/);
  });
});
