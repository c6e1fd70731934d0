/** Videos as files, read back by other programs: sharp for WebP and PNG, ffmpeg for MP4 where there is one. */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { floatTensor } from '../tensor/tensor.ts';
import { Image } from './image.ts';
import { readMetadata } from './read-metadata.ts';
import { Video, videosFromTensor } from './video.ts';

const metadata = { prompt: 'a gradient, moving', seed: 7 };

/** A slope of colour that moves by a pixel a frame. */
function gradient({ frames = 5, width = 32, height = 16 } = {}): Video {
  const images = Array.from({ length: frames }, (_, t) => {
    const data = new Uint8Array(width * height * 3);
    for (let i = 0; i < width * height; i++) {
      const [x, y] = [i % width, Math.floor(i / width)];
      data.set([40 + 4 * (x + t), 60 + 8 * y, 200 - 3 * x], i * 3);
    }
    return new Image({ width, height, channels: 3, data });
  });
  return new Video(images, 16);
}

function meanError(a: Uint8Array, b: Uint8Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]!), 0) / a.length;
}

const allPixels = ({ frames }: Video) => Buffer.concat(frames.map(({ data }) => data));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'deja-dit-video-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('Video', () => {
  it('takes frames from a tensor, channels before frames', () => {
    const [video, other] = videosFromTensor(
      floatTensor(
        Array.from({ length: 2 * 3 * 2 * 2 }, (_, i) => i / 12 - 1),
        [2, 3, 2, 1, 2],
      ),
      { fps: 8 },
    );
    expect(video!.frames.map(({ data }) => [...data])).toEqual([
      // value (channel·4 + frame·2 + column) / 12 − 1, from −1..1 to 0..255
      [0, 42, 85, 11, 53, 96],
      [21, 64, 106, 32, 74, 117],
    ]);
    expect(other!.frames).toHaveLength(2);
    expect([video!.width, video!.height, video!.fps]).toEqual([2, 1, 8]);
  });

  it('saves an animated WebP with its timing and settings', async () => {
    const video = gradient();
    const file = path.join(folder, 'new/out.webp');
    expect(await video.save(file, { metadata })).toEqual([file]);
    const read = sharp(file, { animated: true });
    expect(await read.metadata()).toMatchObject({ pages: 5, pageHeight: 16, loop: 0, delay: [63, 62, 63, 62, 63] });
    expect(meanError(await read.removeAlpha().raw().toBuffer(), allPixels(video))).toBeLessThan(4);
    expect(await readMetadata(file)).toEqual({ ...metadata, width: 32, height: 16 });
  });

  it('saves a still as a plain WebP', async () => {
    const [frame] = gradient().frames;
    const file = path.join(folder, 'out.webp');
    await new Video([frame!, frame!], 16).save(file, { metadata });
    expect(await sharp(file).metadata()).toMatchObject({ width: 32, height: 16 });
    expect(await readMetadata(file)).toMatchObject(metadata);
  });

  it('saves numbered frames', async () => {
    const video = gradient({ frames: 2 });
    const files = await video.save(path.join(folder, 'out.png'), { metadata });
    expect(files.map((file) => path.basename(file))).toEqual(['out-0000.png', 'out-0001.png']);
    for (const [i, file] of files.entries()) expect((await Image.load(file)).data).toEqual(video.frames[i]!.data);
    expect(await readMetadata(files[1]!)).toMatchObject(metadata);
  });

  it('refuses no frames, unequal frames and impossible speeds', async () => {
    expect(() => new Video([], 16)).toThrow('at least one frame');
    expect(() => new Video([gradient().frames[0]!, gradient({ width: 8 }).frames[0]!], 16)).toThrow('frame 1 differs');
    expect(() => new Video(gradient().frames, 0)).toThrow('fps: expected frames per second');
    await expect(gradient().save(path.join(folder, 'out.gif'))).rejects.toThrow(/no image format has the extension/);
  });
});

describe('MP4', () => {
  const { PATH } = process.env;
  afterEach(() => {
    process.env['PATH'] = PATH;
  });

  /** Puts a program called ffmpeg before all others. */
  function standIn(script: string): void {
    const program = path.join(folder, 'ffmpeg');
    writeFileSync(program, `#!${process.execPath}\n${script}`);
    chmodSync(program, 0o755);
    process.env['PATH'] = folder;
  }

  it('gives ffmpeg the size, the speed, the settings and every byte of the frames', async () => {
    const video = gradient();
    standIn(`const { readFileSync, writeFileSync } = require('node:fs');
      writeFileSync(process.argv.at(-1), JSON.stringify({ args: process.argv.slice(2), input: readFileSync(0).toString('hex') }));`);
    const file = path.join(folder, 'out.mp4');
    expect(await video.save(file, { fps: 24, metadata })).toEqual([file]);
    const { args, input } = JSON.parse(readFileSync(file, 'utf8')) as { args: string[]; input: string };
    expect(input).toBe(allPixels(video).toString('hex'));
    const option = (name: string) => args[args.indexOf(name) + 1];
    expect([option('-video_size'), option('-framerate'), option('-pixel_format')]).toEqual(['32x16', '24', 'rgb24']);
    expect(option('-metadata')).toContain('comment=a gradient, moving\n');
    expect(option('-metadata')).toContain('Seed: 7');
    expect(readdirSync(folder).sort()).toEqual(['ffmpeg', 'out.mp4']);
  });

  it('passes on what ffmpeg says when it fails, and leaves nothing behind', async () => {
    standIn("console.error('Unknown encoder\\n libx264'); process.exit(1);");
    await expect(gradient({ frames: 200, width: 64, height: 64 }).save(path.join(folder, 'out.mp4'))).rejects.toThrow(
      /ffmpeg failed \(1\): Unknown encoder libx264/,
    );
    expect(readdirSync(folder)).toEqual(['ffmpeg']);
  });

  it('says what to do without ffmpeg', async () => {
    process.env['PATH'] = folder;
    await expect(gradient().save(path.join(folder, 'out.mp4'))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/install it, or save as \.webp/),
    });
  });

  it("plays as it was, where the system's ffmpeg is there to write and read it", async () => {
    const video = gradient({ width: 33, height: 15 });
    const file = path.join(folder, 'out.mp4');
    const present = (PATH ?? '').split(path.delimiter).some((dir) => existsSync(path.join(dir, 'ffmpeg')));
    if (!present) return expect(video.save(file)).rejects.toThrow(/ffmpeg/);
    await video.save(file);
    const crop = ['-vf', 'crop=33:15:0:0:exact=1,format=rgb24'];
    const decoded = execFileSync('ffmpeg', ['-loglevel', 'error', '-i', file, ...crop, '-f', 'rawvideo', '-']);
    expect(meanError(decoded, allPixels(video))).toBeLessThan(5);
  });
});
