/** What a checkpoint's own defaults may ask for; each pipeline's refusals are in `option-types.test.ts`. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';

const model = path.resolve(import.meta.dirname, '../../../models/emoji-flux');
const root = mkdtempSync(path.join(tmpdir(), 'deja-dit-memory-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

it("a checkpoint's generation_config.json is held to the machine's memory, and cannot raise the limit", async () => {
  const own = 'generation_config.json';
  for (const part of readdirSync(model)) if (part !== own) symlinkSync(path.join(model, part), path.join(root, part));
  const defaults = JSON.parse(readFileSync(path.join(model, own), 'utf8'));
  const greedy = { ...defaults, num_images: 1024, height: 16384, width: 16384, max_memory: '1000GiB' };
  writeFileSync(path.join(root, own), JSON.stringify(greedy));
  const pipe = await DiffusionPipeline.fromPretrained(root);
  const request = { prompt: 'red apple', numInferenceSteps: 1, outputType: 'latent' } as const;
  await expect(pipe.generate(request)).rejects.toThrow(/^width: a picture of 16384 x 16384 needs about \d+\.\d GB/);
  const small = { ...request, height: 64, width: 64 };
  await expect(pipe.generate({ ...small, maxMemory: '500MB' })).rejects.toThrow(/^numImages: 1024 pictures of 64 x 64/);
  const { latents } = await pipe.generate({ ...small, numImages: 2, maxMemory: '500MB' });
  expect(latents.shape[0]).toBe(2);
  await pipe.dispose();
});
