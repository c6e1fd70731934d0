import { mkdtemp, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { floatTensor, Tensor } from '../tensor/tensor.ts';
import type { ImageFormat } from './files.ts';
import { imageGrid } from './grid.ts';
import { Image, imagesFromTensor } from './image.ts';

const fixtures = new URL('../../fixtures/images/', import.meta.url).pathname;

async function readFixture<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(join(fixtures, name), 'utf8'));
}

/** Smooth colours, so that lossy formats stay close. */
function gradient(width: number, height: number, channels: 3 | 4 = 3): Image {
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => {
    const pixel = Math.floor(i / channels);
    const [x, y] = [pixel % width, Math.floor(pixel / width)];
    return [(255 * x) / width, (255 * y) / height, 128, 255][i % channels]!;
  });
  return new Image({ width, height, channels, data });
}

const plain = ({ width, height, channels, data }: Image) => ({ width, height, channels, data: [...data] });

describe('tensors', () => {
  interface Golden {
    shape: number[];
    values: number[];
    bytes: number[];
    unit: number[];
    unitBytes: number[];
    back: number[];
  }

  it('become the bytes of VaeImageProcessor and go back as its tensors', async () => {
    const golden = await readFixture<Golden>('vae-processor.json');
    const image = Image.fromTensor(floatTensor(golden.values, golden.shape));
    expect([image.width, image.height, image.channels]).toEqual([16, 8, 3]);
    expect([...image.data]).toEqual(golden.bytes);
    const unit = Image.fromTensor(floatTensor(golden.unit, golden.shape.slice(1)), { range: '0..1' });
    expect([...unit.data]).toEqual(golden.unitBytes);
    expect(image.toTensor().shape).toEqual(golden.shape);
    expect([...image.toTensor().data]).toEqual(golden.back);
    expect(Image.fromTensor(image.toTensor({ range: '0..1' }), { range: '0..1' }).data).toEqual(image.data);
  });

  it('keep their batch, their alpha and their grey', () => {
    const batch = imagesFromTensor(floatTensor([0, 1, 0.5, 0.25], [2, 1, 1, 2]), { range: '0..1' });
    expect(batch.map(plain)).toEqual([
      { width: 2, height: 1, channels: 3, data: [0, 0, 0, 255, 255, 255] },
      { width: 2, height: 1, channels: 3, data: [128, 128, 128, 64, 64, 64] },
    ]);
    const rgba = Image.fromTensor(floatTensor([0, 0.2, 0.4, 1], [4, 1, 1]), { range: '0..1' });
    expect([...rgba.data]).toEqual([0, 51, 102, 255]);
    const half = new Tensor('float16', Uint16Array.of(0x3c00, 0, 0xbc00), [3, 1, 1]);
    expect([...Image.fromTensor(half).data]).toEqual([255, 128, 0]);
  });

  it.each([
    [[2, 1, 1], 'images need shape [N, 1 | 3 | 4, H, W], got [1,2,1,1]'],
    [[2, 3, 1, 1], 'an image needs shape [C, H, W] or [1, C, H, W], got [2,3,1,1]'],
    [[3, 4], 'got [3,4]'],
  ])('of shape %j are refused', (shape, message) => {
    const size = shape.reduce((a, b) => a * b);
    expect(() => Image.fromTensor(floatTensor(new Array(size).fill(0), shape))).toThrow(message);
  });

  it('with values that are no numbers are an error, not a black picture', () => {
    expect(() => Image.fromTensor(floatTensor([0, NaN, 0], [3, 1, 1]))).toThrow('NaN');
  });
});

describe('files', () => {
  it('read as Pillow reads them', async () => {
    const golden = await readFixture<Record<string, { size: number[]; mode: string; bytes: number[] }>>('pixels.json');
    for (const [name, { size, mode, bytes }] of Object.entries(golden)) {
      const image = await Image.load(join(fixtures, name));
      expect({ name, size: [image.width, image.height], channels: image.channels }).toEqual({
        name,
        size,
        channels: mode.length,
      });
      expect([...image.data]).toEqual(bytes);
    }
    expect((await Image.load(join(fixtures, 'grey16.png'))).channels).toBe(3);
  });

  it('are turned upright', async () => {
    const image = await Image.load(join(fixtures, 'rotated.jpg'));
    expect([image.width, image.height]).toEqual([24, 16]);
    // Orientation 6: the first column, read upwards, is the first row. The corner blocks are red and green.
    const at = (x: number, y: number) => [...image.data.subarray((y * 24 + x) * 3, (y * 24 + x) * 3 + 3)];
    const isNear = (got: number[], want: number[]) => want.every((level, i) => Math.abs(level - got[i]!) < 25);
    expect(isNear(at(20, 4), [250, 10, 10])).toBe(true);
    expect(isNear(at(20, 12), [10, 250, 10])).toBe(true);
  });

  it.each<[ImageFormat, number]>([
    ['png', 0],
    ['jpeg', 4],
    ['webp', 12],
    ['avif', 8],
  ])('%s comes back within %d levels', async (format, tolerance) => {
    const image = gradient(40, 30);
    const back = await Image.load(await image.encode(format));
    expect([back.width, back.height]).toEqual([40, 30]);
    expect(Math.max(...back.data.map((level, i) => Math.abs(level - image.data[i]!)))).toBeLessThanOrEqual(tolerance);
    if (format === 'png') return;
    const [rough, fine] = await Promise.all([20, 95].map(async (quality) => image.encode(format, { quality })));
    expect(rough!.length).toBeLessThan(fine!.length);
  });

  it('are saved whole, in folders made for them, by their extension', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'image-'));
    const image = gradient(5, 4, 4);
    await image.save(join(folder, 'new/deeper/a.png'));
    expect(plain(await Image.load(join(folder, 'new/deeper/a.png')))).toEqual(plain(image));
    await image.save(join(folder, 'b.JPG'));
    expect((await Image.load(join(folder, 'b.JPG'))).channels).toBe(3);
    await expect(image.save(join(folder, 'c.tga'))).rejects.toThrow(
      `c.tga: no image format has the extension '.tga', use .png, .jpg, .jpeg, .webp, .avif`,
    );
    await expect(image.save(join(folder, 'b.JPG/d.png'))).rejects.toThrow('d.png: cannot be written');
    expect((await readdir(folder)).sort()).toEqual(['b.JPG', 'new']);
    expect(await readdir(join(folder, 'new/deeper'))).toEqual(['a.png']);
  });

  it('that are hostile fail with one line', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'image-'));
    const png = await gradient(64, 64).encode('png');
    const files: [name: string, bytes: Uint8Array | string, message: string][] = [
      ['empty.png', '', 'is not a PNG, JPEG, WebP, AVIF or GIF image'],
      ['drawing.png', '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', 'is not a PNG'],
      ['cut.png', png.subarray(0, png.length / 2), 'cannot be decoded'],
      ['head.jpg', Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 0), 'cannot be decoded'],
      ['bomb.png', resized(png, 60_000, 60_000), 'cannot be decoded: Input image exceeds pixel limit'],
    ];
    for (const [name, bytes, message] of files) {
      const path = join(folder, name);
      await writeFile(path, bytes);
      const error: Error = await Image.load(path).then(
        () => expect.unreachable(name),
        (reason) => reason,
      );
      expect(error.name).toBe('DejaDitError');
      expect(error.message).toContain(`${path}: ${message}`);
      expect(error.message).not.toContain('\n');
    }
    await expect(Image.load(join(folder, 'none.png'))).rejects.toThrow('none.png: no such file');
    await expect(Image.load(folder)).rejects.toThrow('is a folder, not a regular file');
    await expect(Image.load(png, { maxPixels: 64 * 64 - 1 })).rejects.toThrow('pixel limit');
    await truncate(join(folder, 'cut.png'), 2 ** 28 + 1);
    await expect(Image.load(join(folder, 'cut.png'))).rejects.toThrow(
      'more than the 268435456 that such a file may have',
    );
  });

  it('take a quality from 1 to 100 and only where there is one', async () => {
    const image = gradient(4, 4);
    await expect(image.encode('webp', { quality: 0 })).rejects.toThrow('quality must be an integer from 1 to 100');
    await expect(image.encode('png', { quality: 90 })).rejects.toThrow('PNG is lossless');
    await expect(image.encode('bmp' as ImageFormat)).rejects.toThrow("unknown image format 'bmp'");
  });
});

/** The PNG with another size in its header. */
function resized(png: Uint8Array, width: number, height: number): Uint8Array {
  const bytes = Buffer.from(png);
  bytes.writeUInt32BE(width, 16);
  bytes.writeUInt32BE(height, 20);
  return bytes;
}

describe('operations', () => {
  it('resize stretches, covers or fits', async () => {
    const image = gradient(40, 20);
    const stretched = await image.resize(10, 10);
    expect([stretched.width, stretched.height, stretched.channels]).toEqual([10, 10, 3]);
    // Cover drops the outer quarters: columns 10 to 30 of 40 remain.
    const covered = await image.resize(10, 10, { fit: 'cover' });
    expect(covered.data[0]).toBeGreaterThan(stretched.data[0]! + 40);
    const contained = await image.resize(10, 10, { fit: 'contain', background: 'white', kernel: 'nearest' });
    expect([...contained.data.subarray(0, 3)]).toEqual([255, 255, 255]);
    expect((await gradient(8, 8, 4).resize(4, 4, { fit: 'contain' })).channels).toBe(4);
    await expect(image.resize(0, 10)).rejects.toThrow('cannot resize an image to 0 x 10');
  });

  it('a grid places images row by row and leaves the rest white', () => {
    const dots = [10, 20, 30].map((level) => {
      return new Image({ width: 1, height: 1, channels: 3, data: Uint8Array.of(level, level, level) });
    });
    const levels = (image: Image) => [...image.data].filter((_, i) => i % 3 === 0);
    expect(levels(imageGrid(dots))).toEqual([10, 20, 30, 255]);
    expect(imageGrid(dots, 3)).toMatchObject({ width: 3, height: 1 });
    expect(imageGrid(dots, 1)).toMatchObject({ width: 1, height: 3 });
    expect(() => imageGrid([dots[0]!, gradient(2, 2)])).toThrow('images of a grid differ: 1 x 1 x 3 and 2 x 2 x 3');
    expect(() => imageGrid([])).toThrow('at least one image');
    expect(() => imageGrid(dots, 0)).toThrow('0 columns');
  });

  it('refuses pixels that do not fit', () => {
    expect(() => new Image({ width: 2, height: 2, channels: 3, data: new Uint8Array(11) })).toThrow('11 bytes');
    expect(() => new Image({ width: 0, height: 2, channels: 3, data: new Uint8Array(0) })).toThrow('0 x 2');
  });
});
