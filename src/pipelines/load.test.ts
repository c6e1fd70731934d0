import { rmSync } from 'node:fs';
import { expect, it } from 'vitest';
import { defaultPrograms } from '../models/auto-model.ts';
import { openModelFolder } from '../weights/model-folder.ts';
import { loadComponents } from './load.ts';
import type { TextEncoder } from './request/text-encoder.ts';
import { assembleCheckpoint, readRecording } from './testing/recorded.ts';

it('frees what was loaded before a part that fails', async () => {
  const root = assembleCheckpoint(readRecording('sd3').checkpoint);
  try {
    const folder = await openModelFolder(root);
    const programs = await defaultPrograms();
    let encoder: TextEncoder | undefined;
    const loading = loadComponents(folder, { programs }, async (load) => {
      encoder = await load.textEncoder('_3');
      return load.transformer('vae');
    });
    await expect(loading).rejects.toThrow(/AutoencoderKL is not a transformer/);
    await expect(encoder!.encodeEach(['cat'], { maxLength: 8 })).rejects.toMatchObject({ code: 'DISPOSED' });
  } finally {
    rmSync(root, { recursive: true });
  }
});
