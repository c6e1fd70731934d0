import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { damageText, seeded } from '../files/testing/fuzz.ts';
import { type ModelFolder, openModelFolder, readConfig, requireComponent } from './model-folder.ts';

let folder: string;
let file: string;
const index = {
  _class_name: 'WanPipeline',
  _diffusers_version: '0.42.1',
  boundary_ratio: 0.875,
  expand_timesteps: false,
  image_encoder: [null, null],
  scheduler: ['diffusers', 'UniPCMultistepScheduler'],
  transformer: ['diffusers', 'WanTransformer3DModel'],
};
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'model-folder-'));
  file = join(folder, 'model_index.json');
  await mkdir(join(folder, 'scheduler'));
  await mkdir(join(folder, 'transformer'));
});
afterAll(() => rm(folder, { recursive: true }));

async function open(contents: object) {
  await writeFile(file, JSON.stringify(contents));
  return openModelFolder(folder);
}

it('tells components, missing components and settings apart', async () => {
  const opened = await open(index);
  expect(opened).toMatchObject({ path: folder, className: 'WanPipeline' });
  expect(opened.options).toEqual({ boundary_ratio: 0.875, expand_timesteps: false });
  expect([...opened.components.keys()]).toEqual(['image_encoder', 'scheduler', 'transformer']);
  expect(requireComponent(opened, 'transformer')).toEqual({
    name: 'transformer',
    library: 'diffusers',
    className: 'WanTransformer3DModel',
    folder: join(folder, 'transformer'),
  });
  expect(() => requireComponent(opened, 'image_encoder')).toThrow(`${file}: this WanPipeline has no 'image_encoder'`);
  expect(() => requireComponent(opened, 'transformer_2')).toThrow(/lists no component 'transformer_2', nearest is 'tr/);
});

it('reads the bundled model', async () => {
  const { className, components } = await openModelFolder(join(import.meta.dirname, '../../models/emoji-flux'));
  expect(className).toBe('FluxPipeline');
  expect(components.get('vae')).toMatchObject({ library: 'diffusers', className: 'AutoencoderKL' });
  expect(components.get('image_encoder') ?? null).toBeNull();
});

it.each([
  [{ ...index, vae: ['diffusers', 'AutoencoderKL'] }, /names the component 'vae', but .*vae is not there$/],
  [{ ...index, '../vae': ['diffusers', 'AutoencoderKL'] }, /"\.\.\/vae" cannot be the name of a component/],
  [{ ...index, _class_name: undefined }, /_class_name must be a pipeline's class, not undefined/],
  [{ ...index, _class_name: ['my_pipeline', 'Mine'] }, /_class_name \["my_pipeline","Mine"\] asks for Python code/],
])('refuses an index that is wrong (%#)', async (contents, message) => {
  await expect(open(contents)).rejects.toThrow(message);
  await expect(open(contents)).rejects.toMatchObject({ name: 'DejaDitError', path: file });
});

it('opens a damaged index or says why', async () => {
  const intact = Buffer.from(JSON.stringify(index));
  const random = seeded(11);
  let opened = 0;
  for (let i = 0; i < 400; i++) {
    await writeFile(file, damageText(intact, random));
    const result = await openModelFolder(folder).catch((error: unknown) => error);
    if (result instanceof Error) {
      expect(result).toMatchObject({ name: 'DejaDitError', path: file });
      expect(result.message).toMatch(/^[^\n]{1,600}$/);
    } else {
      opened++;
      for (const component of (result as ModelFolder).components.values()) {
        if (component) expect(component.folder).toBe(join(folder, component.name));
      }
    }
  }
  expect(opened).toBeGreaterThan(20);
  expect(opened).toBeLessThan(300);
});

it('says what a folder without an index is', async () => {
  const vae = join(folder, 'only-vae');
  await cp(join(import.meta.dirname, '../../models/emoji-flux/vae/config.json'), join(vae, 'config.json'));
  await expect(openModelFolder(vae)).rejects.toThrow(`${vae}: has no model_index.json: it holds a single model`);
  await expect(openModelFolder(join(folder, 'scheduler'))).rejects.toThrow('not a Diffusers pipeline');
  await expect(openModelFolder(join(folder, 'nowhere'))).rejects.toThrow('nowhere: no such folder');
});

it('finds the class in a config of either library', async () => {
  const models = join(import.meta.dirname, '../../models/emoji-flux');
  expect((await readConfig(join(models, 'vae'))).className).toBe('AutoencoderKL');
  expect((await readConfig(join(models, 'text_encoder_2'))).className).toBe('T5EncoderModel');
  const { className, path } = await readConfig(join(models, 'scheduler'), 'scheduler_config.json');
  expect(className).toBe('FlowMatchEulerDiscreteScheduler');
  expect(path).toBe(join(models, 'scheduler', 'scheduler_config.json'));
  await writeFile(join(folder, 'config.json'), '{"_class_name": 3}');
  await expect(readConfig(folder)).rejects.toThrow(`${join(folder, 'config.json')}: its class must be a string, not 3`);
});

it('reads the infinities that Python writes, makes a word of NaN, and leaves strings alone', async () => {
  const path = join(folder, 'config.json');
  await writeFile(path, '{"a": -Infinity, "b": NaN, "c": "x: NaN", "d": Infinity}');
  expect((await readConfig(folder)).config).toEqual({ a: -Infinity, b: 'NaN', c: 'x: NaN', d: Infinity });
  await rm(path);
});
