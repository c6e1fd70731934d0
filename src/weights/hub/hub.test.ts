import { execFile } from 'node:child_process';
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type DownloadProgress, type ResolveOptions, resolveModel } from './hub.ts';
import { hubCacheFolder } from './hub-cache.ts';
import { gitHash, HubServer, sha256 } from './testing/hub-server.ts';

const repository = 'some-org/tiny-flux';
const weights = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) % 251));
const index = JSON.stringify({
  _class_name: 'FluxPipeline',
  scheduler: ['diffusers', 'FlowMatchEulerDiscreteScheduler'],
  image_encoder: [null, null],
  tokenizer: ['transformers', 'CLIPTokenizer'],
  transformer: ['diffusers', 'FluxTransformer2DModel'],
});
const contents = {
  'README.md': 'about',
  'model_index.json': index,
  'flux1.safetensors': Buffer.alloc(99, 7),
  'scheduler/scheduler_config.json': '{}',
  'tokenizer/merges.txt': 'a b',
  'tokenizer/vocab.json': '{"a": 0}',
  'transformer/config.json': '{"_class_name": "FluxTransformer2DModel"}',
  'transformer/diffusion_pytorch_model.safetensors': weights,
  'transformer/diffusion_pytorch_model.fp16.safetensors': weights.subarray(0, 1000),
  'transformer/diffusion_pytorch_model.bin': 'a pickle',
  'vae/config.json': '{}',
};
const weightsPath = 'transformer/diffusion_pytorch_model.safetensors';
const needed = [
  'model_index.json',
  'scheduler/scheduler_config.json',
  'tokenizer/merges.txt',
  'tokenizer/vocab.json',
  'transformer/config.json',
  weightsPath,
];

let server: HubServer;
let cacheFolder: string;
let folder: string;
let warnings: string[];
beforeEach(async () => {
  server = await HubServer.start(repository, contents);
  cacheFolder = await mkdtemp(join(tmpdir(), 'hub-'));
  folder = join(cacheFolder, 'models--some-org--tiny-flux');
  warnings = [];
});
afterEach(async () => {
  await server.stop();
  await rm(cacheFolder, { recursive: true });
});

function resolve(options: ResolveOptions = {}, name = repository): Promise<string> {
  return resolveModel(name, {
    cacheFolder,
    hubUrl: server.url,
    retries: 0,
    env: {},
    onWarning: (message) => void warnings.push(message),
    ...options,
  });
}

/** All files below a folder, as paths from it. */
async function filesBelow(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(path.length + 1))
    .sort();
}

const faultOn =
  (path: string, ...faults: ReturnType<HubServer['fault']>[]) =>
  (asked: string) =>
    asked === path ? faults.shift() : undefined;

describe('a download', () => {
  it('brings what the pipeline needs, in the layout of the Python library', async () => {
    const snapshot = await resolve();
    expect(snapshot).toBe(join(folder, 'snapshots', server.commit));
    expect(await filesBelow(snapshot)).toEqual(needed);
    expect(weights.equals(await readFile(join(snapshot, weightsPath)))).toBe(true);
    expect(await readFile(join(folder, 'refs', 'main'), 'utf8')).toBe(server.commit);
    expect(await readlink(join(snapshot, weightsPath))).toBe(`../../../blobs/${sha256(weights)}`);
    expect(await readlink(join(snapshot, 'model_index.json'))).toBe(`../../blobs/${gitHash(Buffer.from(index))}`);
    expect(await readdir(join(folder, 'blobs'))).toHaveLength(needed.length);
    expect(warnings).toEqual([]);
  });

  it('may run twice at once', async () => {
    const [first, second] = await Promise.all([resolve(), resolve()]);
    expect(first).toBe(second);
    expect(await filesBelow(first)).toEqual(needed);
    expect(weights.equals(await readFile(join(first, weightsPath)))).toBe(true);
    expect((await readdir(join(folder, 'blobs'))).filter((name) => name.includes('incomplete'))).toEqual([]);
  });

  it('is not repeated, and completed when more is wanted', async () => {
    await resolve({ components: ['tokenizer'] });
    expect(server.requests.map(({ path }) => path).sort()).toEqual([
      'model_index.json',
      'tokenizer/merges.txt',
      'tokenizer/vocab.json',
    ]);
    const snapshot = await resolve();
    expect(await filesBelow(snapshot)).toEqual(needed);
    expect(server.requests).toHaveLength(needed.length);
    await resolve();
    expect(server.requests).toHaveLength(needed.length);
  });

  it('takes a variant, and says where there is none', async () => {
    server.files['vae/model.safetensors'] = { bytes: weights, lfs: true };
    const snapshot = await resolve({ variant: 'fp16' });
    expect(await filesBelow(snapshot)).toContain('transformer/diffusion_pytorch_model.fp16.safetensors');
    expect(await filesBelow(snapshot)).not.toContain(weightsPath);
    await expect(resolve({ variant: 'int3' })).rejects.toThrow(`${repository}: no weights of variant "int3"`);
  });

  it('takes what patterns ask for instead', async () => {
    const snapshot = await resolve({ allowPatterns: ['vae/*', 'README.??'] });
    expect(await filesBelow(snapshot)).toEqual(['README.md', 'vae/config.json']);
  });

  it('refuses a pipeline before its weights are fetched', async () => {
    const checkClass = ({ className }: { className: string }) => {
      throw new Error(`no ${className} here`);
    };
    await expect(resolve({ checkClass })).rejects.toThrow('no FluxPipeline here');
    expect(server.requests.map(({ path }) => path)).toEqual(['model_index.json']);
    await expect(resolve({ components: ['unet'] })).rejects.toThrow(/has no component 'unet'; it has scheduler, tok/);
  });

  it('reports every byte once', async () => {
    const last = new Map<string, DownloadProgress>();
    let before = 0;
    await resolve({
      onProgress(progress) {
        last.set(progress.file, progress);
        expect(progress.overall.received).toBeGreaterThanOrEqual(before);
        before = progress.overall.received;
      },
    });
    for (const { received, total } of last.values()) expect(received).toBe(total);
    // The index comes before the total is known, since it tells what else is wanted; it is small and not reported.
    const reported = needed.filter((path) => path !== 'model_index.json');
    expect([...last.keys()].sort()).toEqual(reported);
    const total = reported.reduce((sum, path) => sum + server.files[path]!.bytes.length, 0);
    expect(last.get(weightsPath)!.overall.total).toBe(total);
    expect(before).toBe(total);
  });

  it('ends with the error that a callback throws', async () => {
    const onProgress = () => {
      throw new Error('the bar broke');
    };
    await expect(resolve({ onProgress, retries: 3 })).rejects.toThrow(/^the bar broke$/);
  });

  it('replaces a blob that a crash has cut', async () => {
    const snapshot = await resolve();
    await writeFile(join(folder, 'blobs', sha256(weights)), '');
    await resolve();
    expect(weights.equals(await readFile(join(snapshot, weightsPath)))).toBe(true);
  });

  it('counts what the cache has from another path or commit', async () => {
    server.files['transformer/model.safetensors.copy.json'] = { bytes: weights, lfs: true };
    await resolve({ components: ['transformer'] });
    const reports: DownloadProgress[] = [];
    await rm(join(folder, 'snapshots'), { recursive: true });
    server.requests.length = 0;
    await resolve({ onProgress: (progress) => void reports.push(progress), components: ['transformer'] });
    expect(server.requests).toEqual([]);
    expect(reports.at(-1)!.overall.received).toBe(reports.at(-1)!.overall.total);
    expect(reports.at(-1)!.overall.received).toBeGreaterThan(600_000);
  });

  it('resolves branches with slashes, tags and commits', async () => {
    for (const revision of ['refs/pr/2', 'v1.0', server.commit]) {
      expect(await resolve({ revision })).toBe(join(folder, 'snapshots', server.commit));
    }
    expect(await filesBelow(join(folder, 'refs'))).toEqual(['refs/pr/2', 'v1.0']);
    await expect(resolve({ revision: 'v9' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(resolve({ revision: '../../x' })).rejects.toThrow('revision "../../x" is not the name of a branch');
  });

  it('sends the token to the hub, and only there', async () => {
    await resolve({ env: { HF_TOKEN: 'hf_secret' }, components: [] });
    expect(server.requests[0]).toMatchObject({ path: 'model_index.json', authorization: 'Bearer hf_secret' });
    // Large files live on another host, to which the hub sends the client.
    const elsewhere = await HubServer.start(repository, contents);
    server.fault = (path) => (path === weightsPath ? { redirect: elsewhere.url } : undefined);
    await resolve({ token: 'hf_secret' });
    expect(elsewhere.requests).toEqual([{ path: weightsPath, range: undefined, authorization: undefined }]);
    await elsewhere.stop();
  });

  it('copies where links are not wanted', async () => {
    const snapshot = await resolve({ env: { HF_HUB_DISABLE_SYMLINKS: '1' } });
    expect((await lstat(join(snapshot, weightsPath))).isFile()).toBe(true);
    expect(weights.equals(await readFile(join(snapshot, weightsPath)))).toBe(true);
  });
});

describe('a download that is interrupted', () => {
  /** Options to download the weights alone, over a connection that breaks when so many bytes are here. */
  function cutAt(...bytes: number[]): ResolveOptions {
    const cuts = new Set(bytes);
    return {
      allowPatterns: [weightsPath],
      onProgress({ received }) {
        if (cuts.delete(received)) server.cut();
      },
    };
  }

  it('goes on by itself where the connection broke', async () => {
    server.fault = faultOn(weightsPath, { hangAfter: 100_000 }, { hangAfter: 50_000 });
    const snapshot = await resolve({ ...cutAt(100_000, 150_000), retries: 1 });
    expect(weights.equals(await readFile(join(snapshot, weightsPath)))).toBe(true);
    const ranges = server.requests.filter(({ path }) => path === weightsPath).map(({ range }) => range);
    // Each attempt brought something new, so neither used up the one retry that is allowed.
    expect(ranges).toEqual([undefined, 'bytes=100000-', 'bytes=150000-']);
  });

  it('is continued by the next one', async () => {
    server.fault = faultOn(weightsPath, { hangAfter: 100_000 });
    await expect(resolve(cutAt(100_000))).rejects.toMatchObject({
      code: 'NETWORK',
      path: `${repository}/${weightsPath}`,
    });
    expect(await readdir(join(folder, 'blobs'))).toContain(`${sha256(weights)}.incomplete`);
    await expect(readdir(join(folder, 'refs'))).rejects.toThrow('ENOENT');
    const received: number[] = [];
    const snapshot = await resolve({
      onProgress: (progress) => void (progress.file === weightsPath && received.push(progress.received)),
    });
    expect(received[0]).toBe(100_000);
    expect(weights.equals(await readFile(join(snapshot, weightsPath)))).toBe(true);
    expect(server.requests.at(-1)).toMatchObject({ path: weightsPath, range: 'bytes=100000-' });
    expect((await readdir(join(folder, 'blobs'))).filter((name) => name.includes('incomplete'))).toEqual([]);
  });

  it('is continued after its process was killed, but not while it runs', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ['-p', 'process.pid']);
    const gone = Number(stdout);
    const partial = (owner: number) =>
      join(folder, 'blobs', `${sha256(weights)}.${hostname().replace(/[^\w.-]/g, '_')}-${owner}-0123abcd.incomplete`);
    await mkdir(join(folder, 'blobs'), { recursive: true });
    await writeFile(partial(process.pid), weights.subarray(0, 7));
    await writeFile(partial(gone), weights.subarray(0, 200_000));
    await resolve();
    const asked = server.requests.filter(({ path }) => path === weightsPath);
    expect(asked.map(({ range }) => range)).toEqual(['bytes=200000-']);
    expect(await readFile(partial(process.pid))).toEqual(weights.subarray(0, 7));
  });

  it('stops at an abort, keeps what has arrived and leaves no reference', async () => {
    const stop = new AbortController();
    server.fault = faultOn(weightsPath, { hangAfter: 100_000 });
    const onProgress = ({ file, received }: DownloadProgress) => {
      if (file === weightsPath && received === 100_000) stop.abort();
    };
    await expect(resolve({ signal: stop.signal, onProgress })).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await readdir(join(folder, 'blobs'))).toContain(`${sha256(weights)}.incomplete`);
    await expect(readdir(join(folder, 'refs'))).rejects.toThrow('ENOENT');
    await expect(resolve({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('notices a server that falls silent', async () => {
    server.fault = faultOn(weightsPath, { hangAfter: 100_000 });
    const snapshot = await resolve({ timeout: 500, retries: 5, allowPatterns: [weightsPath] });
    expect(weights.equals(await readFile(join(snapshot, weightsPath)))).toBe(true);
  });

  it('begins anew with a server that knows no ranges, and after bytes that were not the file', async () => {
    server.fault = faultOn(weightsPath, { hangAfter: 1000 }, { ignoreRange: true });
    const snapshot = await resolve({ ...cutAt(1000), retries: 1 });
    expect(weights.equals(await readFile(join(snapshot, weightsPath)))).toBe(true);
    await rm(folder, { recursive: true });
    await mkdir(join(folder, 'blobs'), { recursive: true });
    await writeFile(join(folder, 'blobs', `${sha256(weights)}.incomplete`), Buffer.alloc(5000, 1));
    server.requests.length = 0;
    expect(weights.equals(await readFile(join(await resolve(), weightsPath)))).toBe(true);
    const asked = server.requests.filter(({ path }) => path === weightsPath);
    expect(asked.map(({ range }) => range)).toEqual(['bytes=5000-', undefined]);
  });
});

describe('failures are one line that says what to do', () => {
  const cases: [string, string, ReturnType<HubServer['fault']>, string, RegExp][] = [
    ['401', 'api', { status: 401 }, 'NETWORK', /^some-org\/tiny-flux: http.* refuses access \(401\): .* set HF_TOKEN$/],
    ['403 for one file', weightsPath, { status: 403 }, 'NETWORK', /model\.safetensors: .* refuses access \(403\)/],
    ['404', 'api', { status: 404 }, 'NOT_FOUND', /has no such model, revision or file \(404\)/],
    ['429', 'api', { status: 429 }, 'NETWORK', /asks for fewer requests \(429\)/],
    ['500', weightsPath, { status: 500 }, 'NETWORK', /answered with an error \(500\): try again later/],
    ['a page instead of the API', 'api', { bytes: Buffer.from('<html>') }, 'NETWORK', /did not answer with JSON/],
    [
      'too many bytes',
      weightsPath,
      { bytes: Buffer.concat([weights, weights]) },
      'NETWORK',
      /is longer than the 300000 bytes/,
    ],
    ['too few bytes', weightsPath, { bytes: weights.subarray(1) }, 'NETWORK', /ended after 299999 of 300000 bytes/],
    ['other bytes', weightsPath, { bytes: Buffer.alloc(300_000) }, 'NETWORK', /arrived damaged/],
    [
      'other bytes in a config',
      'vae/config.json',
      { bytes: Buffer.from('[]') },
      'NETWORK',
      /vae\/config\.json: arrived dam/,
    ],
  ];
  it.each(cases)('%s', async (_, path, fault, code, message) => {
    server.fault = (asked) => (asked === path ? fault : undefined);
    const failing = resolve(path.startsWith('vae') ? { allowPatterns: ['vae/*'] } : {});
    await expect(failing).rejects.toMatchObject({ name: 'DejaDitError', code });
    await expect(failing).rejects.toThrow(message);
    const failure: Error = await failing.catch((error) => error);
    expect(failure.message).not.toContain('\n');
    await expect(readdir(join(folder, 'refs'))).rejects.toThrow('ENOENT');
  });

  it('tries again after an error that may pass, and not after one that will not', async () => {
    server.fault = faultOn('model_index.json', { status: 503 });
    await resolve({ retries: 1, components: [] });
    expect(server.requests).toHaveLength(2);
    server.fault = () => ({ status: 403 });
    await expect(resolve({ retries: 1 })).rejects.toThrow('(403)');
  });

  it('a file that became shorter', async () => {
    server.fault = (path) => (path === weightsPath ? { bytes: weights.subarray(1) } : undefined);
    await expect(resolve({ retries: 1 })).rejects.toThrow('is shorter than the 300000 bytes that the hub lists');
  });

  it('no hub at all: an error, or the snapshot from before with a warning', async () => {
    const hubUrl = 'http://127.0.0.1:9';
    await expect(resolve({ hubUrl })).rejects.toThrow(
      /the connection to http:\/\/127\.0\.0\.1:9 failed \(.+\): check it and/,
    );
    const snapshot = await resolve();
    expect(await resolve({ hubUrl })).toBe(snapshot);
    expect(warnings).toEqual([expect.stringMatching(/failed .*; going on with the snapshot in the cache$/)]);
    server.fault = () => ({ status: 401 });
    await expect(resolve()).rejects.toThrow('refuses access (401)');
  });

  it('a cache that cannot be written', async () => {
    const file = join(cacheFolder, 'file');
    await writeFile(file, '');
    await expect(resolve({ cacheFolder: file })).rejects.toMatchObject({ code: 'RUNTIME' });
    await expect(resolve({ cacheFolder: file })).rejects.toThrow(/cannot be written \(ENOTDIR\): check the disk/);
  });

  it('a listing that leads out of the cache', async () => {
    for (const path of [
      '../evil.json',
      '/etc/evil.json',
      'C:\\evil.json',
      'transformer/..\\..\\evil.json',
      'a//b.json',
    ]) {
      server.listed = { 'vae/config.json': { path } };
      await expect(resolve({ allowPatterns: ['*.json'] })).rejects.toMatchObject({ code: 'INVALID_FILE' });
    }
    for (const oid of ['../../evil', '', undefined]) {
      server.listed = { 'vae/config.json': { oid } };
      await expect(resolve()).rejects.toThrow(/listed .*vae\/config\.json.*: it does not speak the API/);
    }
    server.listed = { 'vae/config.json': { size: -1 } };
    await expect(resolve()).rejects.toThrow(/listed .*"size":-1/);
  });
});

describe('a hub that is a stranger', () => {
  it.each([
    ['null', 'null'],
    ['a number', '7'],
    ['no commit', '{"sha": null}'],
    ['a list', '[]'],
    ['a commit that is a path', '{"sha": "../../x"}'],
    ['20,000 brackets', '['.repeat(20_000)],
  ])('answers with %s', async (_, answer) => {
    server.fault = (path) => (path === 'api' ? { bytes: Buffer.from(answer) } : undefined);
    for (const revision of ['main', server.commit]) {
      if (revision !== 'main' && answer === '[]') continue;
      const failing = resolve({ revision });
      await expect(failing).rejects.toMatchObject({ name: 'DejaDitError', code: 'NETWORK' });
      await expect(failing).rejects.toThrow(/does not speak the API of a Hugging Face hub$/);
    }
  });

  it.each([
    ['null'],
    ['[null]'],
    ['[{"type": "file", "path": null, "size": 1, "oid": {"toString": 1}}]'],
  ])('lists %s', async (answer) => {
    server.fault = (path) => (path === 'api' ? { bytes: Buffer.from(answer) } : undefined);
    await expect(resolve({ revision: server.commit })).rejects.toMatchObject({ code: 'NETWORK' });
  });

  it('lists pages without end', async () => {
    let asked = 0;
    server.fault = (path) =>
      path === 'api'
        ? { bytes: Buffer.from('[]'), link: `<${server.url}/api/models/x/tree?cursor=${++asked}>; rel="next"` }
        : undefined;
    await expect(resolve({ revision: server.commit })).rejects.toThrow('lists files on more than 100 pages');
    expect(asked).toBe(100);
  });

  it('lists a file on a second page', async () => {
    let asked = 0;
    server.fault = (path) =>
      path === 'api' && asked++ === 0
        ? { bytes: Buffer.from('[]'), link: `</api/models/${repository}/tree/${server.commit}>; rel="next"` }
        : undefined;
    expect(await filesBelow(await resolve({ revision: server.commit }))).toEqual(needed);
  });

  it('lets bytes drip', async () => {
    server.fault = (path) => (path === weightsPath ? { drip: 20 } : undefined);
    await expect(resolve({ timeout: 300, retries: 1 })).rejects.toThrow(/less than 1024 bytes a second for 0.3 s/);
    expect(server.requests.filter(({ path }) => path === weightsPath)).toHaveLength(2);
  });
});

describe('secrets', () => {
  it('a token that cannot be sent is not printed, and nothing is tried', async () => {
    for (const token of ['hf_secret\nX-Evil: 1', 'hf_secret\u0000', 'hf_sécret']) {
      const error: Error = await resolve({ env: { HF_TOKEN: token }, retries: 5 }).catch((cause) => cause);
      expect(error).toMatchObject({ name: 'DejaDitError', code: 'INVALID_ARGUMENT' });
      expect(error.message).toMatch(/HF_TOKEN/);
      expect(`${error.message}${error.cause}`).not.toMatch(/hf_s|Evil/);
    }
    expect(server.requests).toEqual([]);
    await resolve({ env: { HF_TOKEN: 'hf_secret\n' }, components: [] });
    expect(server.requests[0]!.authorization).toBe('Bearer hf_secret');
  });

  it('an address with a password, or none at all', async () => {
    const hubUrls = [
      'https://me:hunter2@hub.example',
      'https://hub.example/?key=hunter2',
      'file:///hunter2',
      'hunter2',
    ];
    for (const hubUrl of hubUrls) {
      const error: Error = await resolve({ hubUrl }).catch((cause) => cause);
      expect(error).toMatchObject({ name: 'DejaDitError', code: 'INVALID_ARGUMENT' });
      expect(`${error.message}${error.cause}`).not.toContain('hunter2');
      expect(error.message).toContain('HF_ENDPOINT');
    }
  });
});

describe('a bit flips in the cache', () => {
  const flip = async (path: string) => {
    const bytes = await readFile(path);
    bytes[5]! ^= 4;
    await writeFile(path, bytes);
  };

  it.each([['tokenizer/vocab.json'], [weightsPath]])('%s is downloaded anew, or refused offline', async (path) => {
    const snapshot = await resolve();
    const before = await readFile(join(snapshot, path));
    await flip(join(snapshot, path));
    await expect(resolve({ offline: true })).rejects.toThrow(`${join(snapshot, path)}: is damaged`);
    await expect(resolve({ hubUrl: 'http://127.0.0.1:9' })).rejects.toMatchObject({ code: 'INVALID_FILE' });
    server.requests.length = 0;
    await resolve();
    expect(server.requests.map((request) => request.path)).toEqual([path]);
    expect(before.equals(await readFile(join(snapshot, path)))).toBe(true);
    expect(await resolve({ offline: true })).toBe(snapshot);
  });

  it('in a large file: found when asked to verify', async () => {
    const large = Buffer.alloc(2 ** 25 + 1, 3);
    server.files[weightsPath] = { bytes: large, lfs: true };
    const snapshot = await resolve();
    await flip(join(snapshot, weightsPath));
    expect(await resolve({ offline: true })).toBe(snapshot);
    await expect(resolve({ offline: true, verify: true })).rejects.toMatchObject({ code: 'INVALID_FILE' });
    await resolve({ verify: true });
    expect(large.equals(await readFile(join(snapshot, weightsPath)))).toBe(true);
  });
});

describe('without a download', () => {
  it('a folder that exists goes first, a file is not one, and a path is not a repository', async () => {
    expect(await resolve({}, cacheFolder)).toBe(cacheFolder);
    const file = join(cacheFolder, 'file');
    await writeFile(file, '');
    await expect(resolve({}, file)).rejects.toThrow(`${file}: is a file; deja-dit reads folders in Diffusers layout`);
    for (const path of ['./models/none', '/none', 'a/b/c', 'models\\none', '../none/x', 'a--b/c', '~/x']) {
      await expect(resolve({}, path)).rejects.toThrow(
        `${path}: no such folder, and not a name that a repository can have`,
      );
    }
    expect(server.requests).toEqual([]);
  });

  it('offline, only the cache counts', async () => {
    const env = { HF_HUB_OFFLINE: 'true' };
    await expect(resolve({ env })).rejects.toThrow(/'main' is not in the cache .*; offline mode \(HF_HUB_OFFLINE\)/);
    const snapshot = await resolve({ revision: 'v1.0' });
    server.requests.length = 0;
    expect(await resolve({ env, revision: 'v1.0' })).toBe(snapshot);
    expect(await resolve({ offline: true, revision: server.commit })).toBe(snapshot);
    await expect(resolve({ offline: true })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(server.requests).toEqual([]);
  });

  it.each<[string, ResolveOptions, string]>([
    ['configs', { allowPatterns: ['model_index.json', '*config.json'] }, 'tokenizer'],
    ['a file', { allowPatterns: ['flux1.safetensors'] }, 'its model_index.json or config.json'],
    ['one component', { components: ['tokenizer'] }, 'scheduler'],
    ['all but weights', { withoutWeights: ['transformer'] }, 'the weights of transformer'],
  ])('offline, a snapshot of which only %s was fetched is not taken for all', async (_, part, missing) => {
    const snapshot = await resolve(part);
    expect(await resolve({ ...part, offline: true })).toBe(snapshot);
    const message = `'main' is in the cache without ${missing}: other files of it were fetched; go online once`;
    await expect(resolve({ offline: true })).rejects.toThrow(message);
    // Nor where the hub is away.
    server.fault = () => ({ status: 503 });
    await expect(resolve()).rejects.toMatchObject({ code: 'NETWORK' });
  });

  it('finds the cache where the Python library has it', () => {
    const env = { XDG_CACHE_HOME: '/xdg', HF_HOME: '/home', HUGGINGFACE_HUB_CACHE: '/old', HF_HUB_CACHE: '/new' };
    expect(hubCacheFolder(env)).toBe('/new');
    expect(hubCacheFolder({ ...env, HF_HUB_CACHE: undefined })).toBe('/old');
    expect(hubCacheFolder({ XDG_CACHE_HOME: '/xdg', HF_HOME: '/home' })).toBe(join('/home', 'hub'));
    expect(hubCacheFolder({ XDG_CACHE_HOME: '/xdg' })).toBe(join('/xdg', 'huggingface', 'hub'));
    expect(hubCacheFolder({})).toMatch(/\.cache.huggingface.hub$/);
    expect(hubCacheFolder({ HF_HOME: '~/x' })).not.toContain('~');
  });
});
