/** The built package as a user gets it: its root export, its contract, and the command. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { relativeError } from '../src/models/testing/golden.ts';

const root = path.resolve(import.meta.dirname, '..');
const main = path.join(root, 'dist/cli/main.js');
const run = promisify(execFile);

type Failure = Error & { code: number; stderr: string };
const cli = (...args: string[]) => run(process.execPath, [main, ...args]);
const failing = (...args: string[]) =>
  cli(...args).then(
    () => expect.fail('should have failed'),
    (error: Failure) => error,
  );

it('a clone installs without a warning about its settings or scripts', async () => {
  const { stdout, stderr } = await run('npm', ['ci', '--dry-run'], { cwd: root });
  expect(stdout + stderr).not.toMatch(/unknown|install-scripts/i);
});

describe('the package root', () => {
  it('loads a bare transformer and runs it under Diffusers’ names', async () => {
    const { AutoModel, Tensor, readSafetensors } = (await import(
      path.join(root, 'dist/index.js')
    )) as typeof import('../src/index.ts');
    const folder = path.join(root, 'fixtures/models/flux');
    const golden = await readSafetensors(path.join(folder, 'io.safetensors'));
    const model = await AutoModel.fromPretrained(folder);
    const names = [
      'hidden_states',
      'encoder_hidden_states',
      'pooled_projections',
      'timestep',
      'img_ids',
      'txt_ids',
      'guidance',
    ];
    const { sample } = await model.forward(Object.fromEntries(names.map((name) => [name, golden[name]])));
    expect(sample).toBeInstanceOf(Tensor);
    expect((sample as InstanceType<typeof Tensor>).shape).toEqual(golden.output!.shape);
    await model.dispose();
  });

  it('says what is not supported, and what is', async () => {
    const { AutoModel } = (await import(path.join(root, 'dist/index.js'))) as typeof import('../src/index.ts');
    const { writeFile } = await import('node:fs/promises');
    const folder = await mkdtemp(path.join(tmpdir(), 'unet-'));
    await writeFile(path.join(folder, 'config.json'), '{"_class_name": "UNet3DConditionModel"}');
    await expect(AutoModel.fromPretrained(folder)).rejects.toThrow(
      /'UNet3DConditionModel' is not supported; did you mean UNet2DConditionModel\?/,
    );
    await rm(folder, { recursive: true });
  });
});

describe('the same picture from every backend', () => {
  const options = { prompt: 'red apple', seed: 3, numInferenceSteps: 2, outputType: 'latent' as const };
  const draw = async (load: object, cached: boolean) => {
    const { DiffusionPipeline, enableCache } = (await import(
      path.join(root, 'dist/index.js')
    )) as typeof import('../src/index.ts');
    const pipe = await DiffusionPipeline.fromPretrained(path.join(root, 'models/emoji-flux'), load);
    if (cached) enableCache(pipe, { cacheConfig: { maxWarmupSteps: 1, residualDiffThreshold: 1 } });
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const { latents } = await pipe.generate(options);
    clearInterval(timer);
    await pipe.dispose();
    await pipe.programs.backend.dispose();
    return { latents, ticks, name: pipe.programs.backend.name };
  };

  it.each([
    ['wasm', { backend: 'wasm' }],
    ['cpu (worker thread)', { backend: 'cpu', worker: true }],
  ])('%s', async (name, load) => {
    for (const cached of [false, true]) {
      const expected = await draw({ backend: 'cpu' }, cached);
      const actual = await draw(load, cached);
      expect(actual.name).toBe(name);
      expect(relativeError(actual.latents, expected.latents)).toBeLessThan(1e-4);
      if (name.includes('worker')) expect(actual.ticks).toBeGreaterThan(0);
    }
  });
});

describe('deja-dit', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'deja-dit-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('generates files whose metadata tells how', async () => {
    const { readMetadata } = (await import(path.join(root, 'dist/index.js'))) as typeof import('../src/index.ts');
    const out = path.join(folder, 'deep/apple.webp');
    const { stdout } = await cli(
      'generate',
      'red',
      'apple',
      '--seed',
      '7',
      '--steps',
      '2',
      '-n',
      '2',
      '-o',
      out,
      '--json',
    );
    const report = JSON.parse(stdout);
    expect(report.files).toEqual([path.join(folder, 'deep/apple-0.webp'), path.join(folder, 'deep/apple-1.webp')]);
    expect(report.timings.steps).toHaveLength(2);
    expect(await readMetadata(report.files[1])).toMatchObject({
      prompt: 'red apple',
      seed: 7,
      numInferenceSteps: 2,
      width: 128,
    });
  });

  it('inspects a checkpoint', async () => {
    const { stdout } = await cli('inspect', '--json');
    const { className, components } = JSON.parse(stdout);
    expect(className).toBe('FluxPipeline');
    expect(components.find((c: { name: string }) => c.name === 'transformer')).toMatchObject({
      tensors: 256,
      parameters: 17_817_664,
      dtypes: ['bfloat16'],
    });
  });

  it('knows which backends work here', async () => {
    const { stdout, stderr } = await cli('doctor', '--json');
    // Whatever drivers print.
    expect(stderr).toBe('');
    const { checks } = JSON.parse(stdout) as { checks: { name: string; works: boolean; reason?: string }[] };
    for (const backend of ['cpu', 'wasm'])
      expect(checks.find(({ name }) => name === backend)).toMatchObject({
        works: true,
        capabilities: { int8Product: expect.stringMatching(/^u8[su]8$/) },
      });
    for (const { works, reason } of checks) expect(works || reason).toBeTruthy();
  });

  it.each([
    [['generate', 'x', '-o', 'x.tiff'], /--out must end in/],
    [['generate', 'x', '--steps', 'many'], /--steps.*'many' is invalid. It must be an integer from 1/],
    [['generate', 'x', '--size', 'big'], /--size.*'big'.*512 or 768x512/],
    [['generate', 'x', '-m', '/no/such/model'], /no\/such\/model/],
    [['generate', 'x', '--size', '100'], /multiple of 16/],
  ])('fails with one line: %j', async (args, message) => {
    const { code, stderr } = await failing(...args);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  it('leaves nothing behind when interrupted', async () => {
    const out = path.join(folder, 'never.png');
    // How long a machine takes to the first step is not known: an interrupt before that ends the process by the signal.
    const interrupted = async (after: number): Promise<number | null> => {
      const child = execFile(process.execPath, [main, 'generate', 'apple', '--steps', '5000', '-o', out]);
      setTimeout(() => child.kill('SIGINT'), after);
      return new Promise((resolve) => child.on('exit', resolve));
    };
    const code = (await interrupted(1500)) ?? (await interrupted(10_000));
    expect(code).toBe(130);
    expect(existsSync(out)).toBe(false);
  });
});
