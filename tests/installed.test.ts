/**
 * The package as it comes from the registry: packed, installed into an empty project, type-checked and drawn with. Needs a registry for
 * the dependencies, so it only runs where `.ci/run` says where the tarball is.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const tarball = process.env['DEJA_DIT_TARBALL'];
const exec = promisify(execFile);

const drawing = `
  const pipe = await DiffusionPipeline.fromPretrained(bundledModel());
  const { images } = await pipe.generate({ prompt: 'red apple, flat style', seed: 7, numInferenceSteps: 2 });
  await images[0]!.save('apple.png');
  await pipe.dispose();
`;
const javascript = drawing.replace('images[0]!', 'images[0]');

const typescript = `
  import { bundledModel, DejaDitError, DiffusionPipeline, enableCache, type GenerateOptions, type Pipeline } from 'deja-dit';
  import { defineTransformer, linear, registerTransformer } from 'deja-dit/models';
  export const family = defineTransformer({
    className: 'TestTransformer2DModel',
    separateCfg: false,
    parseConfig: (config) => ({ width: config.integer('hidden_size', 8) }),
    inputs: ({ width }) => [{ name: 'hidden_states', kind: 'float', shape: ['batch', 'tokens', width] }],
    prologue: (m, inputs, { width }) => ({ hidden_states: linear(m.at('proj_in'), inputs.hidden_states!, width) }),
    blockLists: () => [],
    epilogue: (m, { hidden_states }, { width }) => linear(m.at('proj_out'), hidden_states, width),
  });
  registerTransformer(family);
  ${drawing.replace('const pipe =', 'const pipe: Pipeline =')}
  const bytes: Uint8Array<ArrayBuffer> = await images[0]!.encode('png');
  new Response(bytes);
  export const cached = enableCache(pipe, { cacheConfig: { errorBudget: 0.02 } });
  export const options: GenerateOptions = { prompt: 'x' };
  export const isAbort = (error: unknown): boolean => error instanceof DejaDitError && error.name === 'AbortError';
`;

const config = (module: string, moduleResolution: string) => ({
  compilerOptions: {
    target: 'es2022',
    lib: ['es2023', 'dom', 'dom.iterable'],
    types: ['node'],
    module,
    moduleResolution,
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    outDir: 'out',
  },
  files: ['draw.ts'],
});

describe.skipIf(tarball === undefined)('the tarball', () => {
  let folder: string;
  const install = (...packages: string[]) =>
    exec('npm', ['install', '--no-audit', '--no-fund', ...packages], {
      cwd: folder,
      env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' },
      timeout: 600_000,
    });
  const project = async (name: string, packageJson: object, files: Record<string, string>) => {
    const own = path.join(folder, name);
    await mkdir(own);
    await writeFile(path.join(own, 'package.json'), JSON.stringify(packageJson));
    for (const [file, text] of Object.entries(files)) await writeFile(path.join(own, file), text);
    return own;
  };
  const draws = async (own: string, script: string, node = process.execPath) => {
    const { stderr } = await exec(node, [script], { cwd: own });
    expect(stderr).toBe('');
    expect((await stat(path.join(own, 'apple.png'))).size).toBeGreaterThan(2000);
  };

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'deja-dit-installed-'));
    await writeFile(path.join(folder, 'package.json'), '{"private": true}');
    await install(tarball!, 'typescript@5.9.3', '@types/node@20.19.43');
  }, 600_000);
  afterAll(() => rm(folder, { recursive: true }));

  it('draws from an ES module', async () => {
    const own = await project(
      'esm',
      { type: 'module' },
      { 'draw.js': `import { bundledModel, DiffusionPipeline } from 'deja-dit';\n${javascript}` },
    );
    await draws(own, 'draw.js');
  });

  it('draws from a CommonJS module, with import() and where Node can with require()', async () => {
    const main = (load: string) =>
      `(async () => { const { bundledModel, DiffusionPipeline } = ${load}; ${javascript} })();`;
    const own = await project(
      'cjs',
      {},
      { 'import.js': main("await import('deja-dit')"), 'require.js': main("require('deja-dit')") },
    );
    await draws(own, 'import.js');
    const [major, minor] = process.versions.node.split('.').map(Number) as [number, number];
    if (major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19)) {
      await rm(path.join(own, 'apple.png'));
      await draws(own, 'require.js');
    }
  });

  it.each([
    ['node16', 'node16'],
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ])('is type-checked under %s, %s', async (module, resolution) => {
    const own = await project(
      `ts-${resolution}`,
      { type: 'module' },
      { 'draw.ts': typescript, 'tsconfig.json': JSON.stringify(config(module, resolution)) },
    );
    const compiler = path.join(folder, 'node_modules/typescript/bin/tsc');
    await exec(process.execPath, [compiler, '-p', '.'], { cwd: own }).catch(({ stdout }) => expect.fail(stdout));
    await draws(own, 'out/draw.js');
  });

  it('draws from the command line', async () => {
    const own = await project('cli', {}, {});
    await exec(
      path.join(folder, 'node_modules/.bin/deja-dit'),
      ['generate', 'apple', '--steps', '1', '-q', '-o', 'a.png'],
      {
        cwd: own,
      },
    );
    expect((await stat(path.join(own, 'a.png'))).size).toBeGreaterThan(2000);
  });

  it('draws with WebAssembly where onnxruntime-node is not there, and says so', async () => {
    const own = await project('wasm', { type: 'module' }, {});
    // Another tree with the same packages, of which one is missing.
    await mkdir(path.join(own, 'node_modules'));
    await cp(path.join(folder, 'node_modules/deja-dit'), path.join(own, 'node_modules/deja-dit'), { recursive: true });
    for (const name of (await readFile(path.join(folder, 'node_modules/.package-lock.json'), 'utf8')).matchAll(
      /"node_modules\/((?:@[^/"]+\/)?[^/"]+)": \{/g,
    )) {
      const [, dependency] = name as unknown as [string, string];
      if (dependency === 'onnxruntime-node' || dependency === 'deja-dit') continue;
      const target = path.join(own, 'node_modules', dependency);
      await mkdir(path.dirname(target), { recursive: true });
      await symlink(path.join(folder, 'node_modules', dependency), target).catch(() => {});
    }
    // Beyond the reach of the folder above.
    const alone = await mkdtemp(path.join(tmpdir(), 'deja-dit-wasm-'));
    try {
      await cp(own, alone, { recursive: true, verbatimSymlinks: true });
      const cli = path.join(alone, 'node_modules/deja-dit/dist/cli/main.js');
      const { stderr } = await exec(process.execPath, [cli, 'generate', 'apple', '--steps', '1', '-q', '-o', 'a.png'], {
        cwd: alone,
      });
      expect(stderr).toMatch(/^deja-dit: backend: onnxruntime-node does not load .*'wasm' backend/);
      expect(stderr.trim().split('\n')).toHaveLength(1);
      expect((await stat(path.join(alone, 'a.png'))).size).toBeGreaterThan(2000);
      const { stdout } = await exec(process.execPath, [cli, 'doctor', '--json'], { cwd: alone });
      const { checks, backend } = JSON.parse(stdout);
      expect(checks[0]).toMatchObject({ name: 'cpu', works: false });
      expect(backend).toBe('wasm');
    } finally {
      await rm(alone, { recursive: true });
    }
  });

  // Node binaries of the oldest versions that work and of one that does not are packages themselves.
  it('draws on the oldest Node that package.json promises, and not on the one before', async () => {
    const { engines } = JSON.parse(await readFile(path.join(folder, 'node_modules/deja-dit/package.json'), 'utf8')) as {
      engines: { node: string };
    };
    const [, major, minor] = /^>=(\d+)\.(\d+)$/.exec(engines.node)!.map(Number) as [number, number, number];
    const own = await project(
      'oldest',
      { type: 'module' },
      { 'draw.js': `import { bundledModel, DiffusionPipeline } from 'deja-dit';\n${javascript}` },
    );
    const nodeOf = async (version: string) => {
      const prefix = path.join(folder, `node-${version}`);
      await mkdir(prefix);
      const platform = `node-${process.platform}-${process.arch}`;
      await exec('npm', ['install', '--no-audit', '--no-fund', '--prefix', prefix, `${platform}@${version}`]);
      return path.join(prefix, 'node_modules', platform, 'bin/node');
    };
    await exec(await nodeOf(`${major}.${minor}.0`), ['--no-warnings', 'draw.js'], { cwd: own });
    expect((await stat(path.join(own, 'apple.png'))).size).toBeGreaterThan(2000);
    await expect(exec(await nodeOf(`${major}.${minor - 1}.0`), ['draw.js'], { cwd: own })).rejects.toThrow(
      'SyntaxError',
    );
  });
});
