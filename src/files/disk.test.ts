import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openFile, readFileBytes } from './files.ts';
import { readFileBytesSync } from './read-sync.ts';

const folder = mkdtempSync(join(tmpdir(), 'open-'));
const at = (name: string) => join(folder, name);
const server = createServer();

beforeAll(async () => {
  execFileSync('mkfifo', [at('pipe')]);
  symlinkSync('/dev/urandom', at('random'));
  symlinkSync('/dev/zero', at('zero'));
  symlinkSync('pipe', at('link to a pipe'));
  symlinkSync('nowhere', at('dangling'));
  symlinkSync('loop', at('loop'));
  symlinkSync('/', at('root'));
  writeFileSync(at('file'), 'content');
  symlinkSync('file', at('link'));
  await new Promise<void>((resolve) => server.listen(at('socket'), resolve));
});
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true });
});

describe('only a regular file is opened', () => {
  it.each([
    ['pipe', 'INVALID_FILE', 'is a pipe, not a regular file'],
    ['link to a pipe', 'INVALID_FILE', 'is a pipe, not a regular file'],
    ['random', 'INVALID_FILE', 'is a device, not a regular file'],
    ['zero', 'INVALID_FILE', 'is a device, not a regular file'],
    ['root', 'INVALID_FILE', 'is a folder, not a regular file'],
    ['socket', 'INVALID_FILE', 'is a socket'],
    ['loop', 'INVALID_FILE', 'cannot be opened (ELOOP)'],
    ['dangling', 'NOT_FOUND', 'no such file'],
    ['nothing', 'NOT_FOUND', 'no such file'],
    ['file/inside', 'NOT_FOUND', 'no such file'],
    ['nul\0', 'INVALID_FILE', 'cannot be opened'],
  ])('%s', async (name, code, reason) => {
    const path = at(name);
    for (const read of [openFile, readFileBytes]) {
      const error = await read(path, { maxBytes: 100 }).catch((cause: unknown) => cause);
      expect(error).toMatchObject({ name: 'DejaDitError', code, path });
      expect((error as Error).message).toContain(reason);
    }
    expect(() => readFileBytesSync(path, { maxBytes: 100 })).toThrow(reason);
  });

  it('and read, through links too, up to a size', async () => {
    expect(String.fromCharCode(...(await readFileBytes(at('link'), { maxBytes: 7 })))).toBe('content');
    expect(readFileBytesSync(at('file'), { maxBytes: 7 }).toString()).toBe('content');
    const reason = 'is 7 bytes long, more than the 6 that such a file may have';
    await expect(readFileBytes(at('file'), { maxBytes: 6 })).rejects.toThrow(reason);
    expect(() => readFileBytesSync(at('file'), { maxBytes: 6 })).toThrow(reason);
    writeFileSync(at('huge'), '');
    truncateSync(at('huge'), 2 ** 40);
    await expect(readFileBytes(at('huge'), { maxBytes: 6 })).rejects.toThrow('is 1099511627776 bytes long');
  });
});
