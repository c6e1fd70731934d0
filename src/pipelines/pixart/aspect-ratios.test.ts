import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { fixtures, relativeError } from '../../models/testing/golden.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import { nearestTrainedSize, resizeAndCrop } from './aspect-ratios.ts';

type Row = [sampleSize: number, height: number, width: number, trainedHeight: number, trainedWidth: number];

describe('the sizes PixArt was trained on', () => {
  it('are chosen as Diffusers does', () => {
    const rows: Row[] = JSON.parse(readFileSync(path.join(fixtures, 'pipelines/pixart-sizes.json'), 'utf8'));
    expect(rows.length).toBeGreaterThan(200);
    for (const [sampleSize, height, width, ...trained] of rows) {
      const size = nearestTrainedSize({ height, width }, 8 * sampleSize);
      expect([size.height, size.width], `${height}×${width} at ${sampleSize}`).toEqual(trained);
    }
  });

  it('are not known of other models', () => {
    expect(() => nearestTrainedSize({ height: 64, width: 64 }, 128)).toThrow(
      /useResolutionBinning: pictures of 128 pixels/,
    );
  });

  it('are resized and cropped to what was asked for', async () => {
    const tensors = await readSafetensors(path.join(fixtures, 'pipelines/pixart-resize.safetensors'));
    const resized = resizeAndCrop(tensors['in']!, { height: 17, width: 9 });
    expect(resized.shape).toEqual(tensors['out']!.shape);
    expect(relativeError(resized, tensors['out']!)).toBeLessThan(1e-6);
  });
});
