import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { readJsonFile } from '../../files/json.ts';
import { ConfigReader } from '../config-reader.ts';
import { fixtures } from '../testing/golden.ts';
import { legacyTransformer2D } from './legacy-transformer-2d.ts';

async function configure(folder: string, change: Record<string, unknown> = {}) {
  const origin = path.join(fixtures, folder, 'config.json');
  const json = { ...(await readJsonFile(origin)), _class_name: 'Transformer2DModel', ...change };
  return legacyTransformer2D.configure(new ConfigReader(json, origin));
}

describe('Transformer2DModel', () => {
  it('is DiT or PixArt by its norm_type', async () => {
    expect((await configure('models/dit')).className).toBe('DiTTransformer2DModel');
    expect((await configure('models/pixart')).className).toBe('PixArtTransformer2DModel');
  });

  it('is refused with any other norm_type', async () => {
    await expect(configure('models/dit', { norm_type: 'layer_norm' })).rejects.toThrow("norm_type 'layer_norm'");
  });
});
