import { describe, expect, it } from 'vitest';
import { Image } from '../../images/image.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';
import { filledPicture } from './filled-picture.ts';

describe('Flux3ModularPipeline', () => {
  itReproducesDiffusers('flux3_modular');

  it('fills pictures up to whole tokens with their reflection', async () => {
    const [width, height] = [70, 50];
    const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => Math.floor(i / 3) % 251);
    const { canvas, box } = await filledPicture(new Image({ width, height, channels: 3, data }), 16);
    expect([canvas.width, canvas.height, box]).toEqual([80, 64, { left: 5, top: 7, width, height }]);
    expect(canvas.crop(box).data).toEqual(data);
    const at = (x: number, y: number) => canvas.data[(y * 80 + x) * 3];
    expect([at(4, 10), at(0, 10), at(30, 6), at(79, 63)]).toEqual([at(6, 10), at(10, 10), at(30, 8), at(69, 49)]);
  });
});
