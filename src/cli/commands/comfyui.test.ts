/** `deja-dit comfyui`: what a server drew, drawn again from its own file. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it, vi } from 'vitest';
import { Image } from '../../images/image.ts';
import { graph } from '../../serve/comfyui/testing.ts';
import { type ComfyuiFlags, comfyui, placeOf } from './comfyui.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'deja-dit-comfyui-'));
afterAll(() => rmSync(folder, { recursive: true }));

const flags = { out: path.join(folder, 'out'), logLevel: 'warn', port: 0, host: '', drain: 0 } satisfies ComfyuiFlags;
const put = (name: string, content: string | Uint8Array) => {
  writeFileSync(path.join(folder, name), content);
  return path.join(folder, name);
};

it('draws a graph, and again what the PNG of it holds', async () => {
  const printed = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  const start = await new Image({
    width: 64,
    height: 64,
    channels: 3,
    data: new Uint8Array(3 * 64 * 64).fill(90),
  }).encode('png');
  put('start.png', start);
  const nodes = {
    // Its names are not those of the one model there is.
    ...graph({ 4: { ckpt_name: 'some-flux.safetensors' }, 3: { latent_image: ['11', 0], denoise: 0.5 } }),
    10: { class_type: 'LoadImage', inputs: { image: 'start.png' } },
    11: { class_type: 'VAEEncode', inputs: { pixels: ['10', 0], vae: ['4', 2] } },
  };
  await comfyui(put('graph.json', JSON.stringify(nodes)), flags);
  const first = path.join(flags.out, 'fruit/apple_00001_.png');
  expect(printed.mock.calls).toEqual([[first]]);
  await comfyui(put('drawn.png', readFileSync(first)), { ...flags, out: path.join(folder, 'again'), quiet: true });
  expect(printed.mock.calls).toHaveLength(1);
  printed.mockRestore();
  const pixels = async (file: string) => (await Image.load(file)).data;
  expect(await pixels(path.join(folder, 'again/fruit/apple_00001_.png'))).toEqual(await pixels(first));
});

it('says what is wrong with a graph', async () => {
  await expect(comfyui(put('wrong.json', JSON.stringify(graph({ 3: { steps: 0 } }))), flags)).rejects.toThrow(
    /node 3: KSampler steps: Value smaller than min of 1/,
  );
});

it('takes no picture from elsewhere, and writes none there', async () => {
  const load = { ...graph(), 10: { class_type: 'LoadImage', inputs: { image: '../start.png' } } };
  await expect(comfyui(put('load.json', JSON.stringify(load)), flags)).rejects.toThrow(
    /not in the folder of the workflow/,
  );
  expect(placeOf({ subfolder: 'a/b', filename: 'c.png' }, 'out')).toBe(path.join('out', 'a', 'b', 'c.png'));
  for (const subfolder of ['..', 'a/../..', 'a\\..\\..', 'c:'])
    expect(() => placeOf({ subfolder, filename: 'c.png' }, 'out')).toThrow(/^filename_prefix: leads out of --out$/);
});

it.each([
  ['{"nodes": [], "links": []}', /export it in API format/],
  ['{"1": {"class_type": 5}}', /is no graph in API format/],
  ['[]', /must hold a JSON object/],
])('refuses %s', async (text, message) => {
  await expect(comfyui(put('odd.json', text), flags)).rejects.toThrow(message);
});
