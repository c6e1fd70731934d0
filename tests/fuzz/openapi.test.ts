/**
 * The server against what schemathesis makes of its own description: nothing that fits it or does not may be the server's fault, and answers are of
 * the documented types. Needs the Python package, as `schemathesis` on the path; `SCHEMATHESIS_EXAMPLES` asks for more (1).
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { listen } from '../../src/serve/listen.ts';
import { startServer } from '../../src/serve/testing/start.ts';

const isThere = spawnSync('schemathesis', ['--version']).status === 0;
if (!isThere)
  console.warn('NOT CHECKED: schemathesis is not on the path, so the OpenAPI document is not fuzzed with it');

/** What a schema cannot say, as that a size fits the model, is refused all the same; what drawing takes too long for is a 504. */
const checks = ['not_a_server_error', 'status_code_conformance', 'content_type_conformance', 'unsupported_method'];

describe.skipIf(!isThere)('schemathesis', () => {
  it('finds nothing that is the fault of the server', { timeout: 600_000 }, async () => {
    const server = await startServer({ maxSteps: 1, maxPixels: 32 * 32, maxImages: 1, maxQueued: 2000, timeout: 120 });
    const { address, close } = await listen(server, { port: 0 });
    const examples = process.env['SCHEMATHESIS_EXAMPLES'] ?? '1';
    // It leaves what it found where it runs.
    const cwd = await mkdtemp(path.join(tmpdir(), 'deja-dit-fuzz-'));
    const told = [
      'run',
      `${address}/openapi.json`,
      ...['--phases', 'coverage,fuzzing', '--max-time', '60', '--seed', '1', '--generation-database', 'none'],
      ...['--max-examples', examples, '--checks', checks.join(','), '--request-timeout', '120'],
      // An event stream of jobs and a socket have no end, and one health check waits for all that has been asked for before.
      ...['--exclude-path-regex', '/events$|/ws$|/health_generate$'],
    ];
    const run = spawn('schemathesis', told, { cwd });
    let said = '';
    for (const stream of [run.stdout, run.stderr]) stream.on('data', (text) => (said += text));
    const [code] = await once(run, 'exit');
    await close();
    await rm(cwd, { recursive: true });
    expect(code, said).toBe(0);
  });
});
