import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { readJsonFile } from '../../files/json.ts';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';
import { assembleCheckpoint, itReproducesDiffusers, readRecording } from '../testing/recorded.ts';

describe('AnimaModularPipeline', () => {
  const pipe = itReproducesDiffusers('anima_modular');

  it('draws without a negative prompt', async () => {
    const { latents } = await pipe().generate({
      prompt: 'a cat',
      seed: 1,
      height: 32,
      width: 32,
      numInferenceSteps: 1,
    });
    expect(latents.f32.every(Number.isFinite)).toBe(true);
  });

  it('takes a component that the index has elsewhere from there', async () => {
    const root = assembleCheckpoint(readRecording('anima_modular').checkpoint);
    const other = mkdtempSync(path.join(tmpdir(), 'deja-dit-other-'));
    try {
      renameSync(path.join(root, 'vae'), path.join(other, 'vae'));
      const file = path.join(root, 'modular_model_index.json');
      const index = await readJsonFile(file);
      const [library, className] = index['vae'] as [string, string];
      const move = (place: Record<string, unknown>) =>
        writeFileSync(file, JSON.stringify({ ...index, vae: [library, className, place] }));
      move({ pretrained_model_name_or_path: other, subfolder: 'vae' });
      await (await DiffusionPipeline.fromPretrained(root)).dispose();
      move({ pretrained_model_name_or_path: other, subfolder: '../vae' });
      await expect(DiffusionPipeline.fromPretrained(root)).rejects.toThrow('vae.subfolder "../vae" is no folder');
      move({});
      await expect(DiffusionPipeline.fromPretrained(root)).rejects.toThrow("names the component 'vae', but");
    } finally {
      for (const folder of [root, other]) rmSync(folder, { recursive: true, force: true });
    }
  });
});
