import { rmSync } from 'node:fs';
import { expect, it } from 'vitest';
import { defaultPrograms } from '../models/load/programs.ts';
import { openModelFolder } from '../weights/model-folder.ts';
import { loadComponents, type Part, transformer } from './components.ts';
import type { TextEncoder } from './request/text-encoder.ts';
import { assembleCheckpoint, readRecording } from './testing/recorded.ts';

it('frees what was loaded before a part that fails', async () => {
  const root = assembleCheckpoint(readRecording('sd3').checkpoint);
  try {
    const folder = await openModelFolder(root);
    const programs = await defaultPrograms();
    let encoder: TextEncoder | undefined;
    const textEncoder3: Part<TextEncoder> = {
      load: async (loader, name) => {
        encoder = await loader.textEncoder(name);
        return encoder;
      },
    };
    const loading = loadComponents(folder, { programs }, { textEncoder3, vae: transformer('SD3Transformer2DModel') });
    await expect(loading).rejects.toThrow(/AutoencoderKL is not a transformer/);
    await expect(encoder!.encodeEach(['cat'], { maxLength: 8 })).rejects.toMatchObject({ code: 'DISPOSED' });
  } finally {
    rmSync(root, { recursive: true });
  }
});
