import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ImageFormat } from './files.ts';
import { Image } from './image.ts';
import { type ImageMetadata, parametersText, parseParameters } from './metadata.ts';
import { insertPngChunks, pngText } from './png-chunks.ts';
import { readPngTexts } from './png-texts.ts';
import { readMetadata } from './read-metadata.ts';

const fixtures = new URL('../../fixtures/images/', import.meta.url).pathname;
const image = new Image({ width: 12, height: 7, channels: 3, data: new Uint8Array(12 * 7 * 3).fill(90) });
const formats: ImageFormat[] = ['png', 'jpeg', 'webp', 'avif'];

const settings: ImageMetadata = {
  prompt: 'red apple,\nflat style: "ripe"',
  negativePrompt: 'blur',
  numInferenceSteps: 28,
  scheduler: 'FlowMatchEulerDiscreteScheduler',
  guidanceScale: 3.5,
  seed: 7,
  model: 'models/emoji-flux, v2',
};
const text = `red apple,
flat style: "ripe"
Negative prompt: blur
Steps: 28, Sampler: FlowMatchEulerDiscreteScheduler, CFG scale: 3.5, Seed: 7, Size: 12x7, Model: "models/emoji-flux, v2"`;

describe('the Automatic1111 text', () => {
  it('is written and read', () => {
    const sized = { ...settings, width: 12, height: 7 };
    expect(parametersText(sized)).toBe(text);
    expect(parseParameters(text)).toEqual(sized);
    expect(parametersText({})).toBe('\n');
    expect(parseParameters('just a caption')).toBeUndefined();
  });

  it.each(['a1111.png', 'a1111.jpg', 'a1111.webp'])('is read from %s, which Pillow wrote', async (name) => {
    expect(await readMetadata(join(fixtures, name))).toEqual({
      prompt: `a red ${name.endsWith('webp') ? '猫' : 'apple'}, (flat:1.2)\nsecond line`,
      negativePrompt: 'blur, noise',
      numInferenceSteps: 28,
      scheduler: 'DPM++ 2M Karras',
      guidanceScale: 7.5,
      seed: 1234567890,
      width: 512,
      height: 768,
      'Model hash': 'abc123',
      model: 'some-model',
      'Lora hashes': 'a: 1, b: 2',
      Version: 'v1.6.0',
    });
  });
});

describe('metadata in files', () => {
  it.each(formats)('%s keeps everything', async (format) => {
    const metadata = { ...settings, prompt: '猫 🍎 ü\u2028\n"x"', cache: { Fn: 1, threshold: 0.12 }, steps: [1, 0, 1] };
    const bytes = await image.encode(format, { metadata });
    expect(await readMetadata(bytes)).toEqual({ ...metadata, width: 12, height: 7 });
    expect((await Image.load(bytes)).width).toBe(12);
    expect(await readMetadata(await image.encode(format))).toBeUndefined();
  });

  it('leaves the pixels alone', async () => {
    const noise = new Image({
      width: 9,
      height: 9,
      channels: 4,
      data: Uint8Array.from({ length: 324 }, (_, i) => i * 37),
    });
    const back = await Image.load(await noise.encode('png', { metadata: settings }));
    expect(back.data).toEqual(noise.data);
    const [bare, told] = await Promise.all([undefined, settings].map((metadata) => image.encode('webp', { metadata })));
    expect((await Image.load(bare!)).data).toEqual((await Image.load(told!)).data);
  });

  it('in PNG is Latin-1 text where that can hold it, UTF-8 where not', async () => {
    const texts = async (prompt: string) =>
      readPngTexts(await image.encode('png', { metadata: { ...settings, prompt } }), ['deja-dit', 'parameters']);
    expect((await texts('café')).get('parameters')).toMatch(/^café\n/);
    expect((await texts('猫 🍎')).get('parameters')).toMatch(/^猫 🍎\n/);
  });

  it('too long for a JPEG is an error, and fine elsewhere', async () => {
    const metadata = { prompt: 'word '.repeat(10_000) };
    await expect(image.encode('jpeg', { metadata })).rejects.toThrow('do not fit into a JPEG: save as PNG or WebP');
    expect((await readMetadata(await image.encode('webp', { metadata })))?.prompt).toBe(metadata.prompt);
  });

  it('that is damaged reads as none', async () => {
    const png = await image.encode('png');
    const folder = await mkdtemp(join(tmpdir(), 'metadata-'));
    const files = [
      Buffer.from('nothing'),
      png.subarray(0, 40),
      insertPngChunks(png, [pngText('deja-dit', '{"prompt":'), pngText('parameters', 'Steps: , : "')]),
      insertPngChunks(png, [pngText('parameters', `${'Steps: 1, a'.repeat(100_000)}: "`)]),
    ];
    for (const bytes of files) {
      await writeFile(join(folder, 'x.png'), bytes);
      const metadata = await readMetadata(join(folder, 'x.png'));
      expect(metadata?.prompt ?? '').toBe('');
    }
    await expect(readMetadata(join(folder, 'none.png'))).rejects.toThrow('no such file');
  });
});
