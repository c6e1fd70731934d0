import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';

const model = new URL('../../../models/emoji-flux', import.meta.url).pathname;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'text-encoder-'));
  for (const name of ['text_encoder', 'text_encoder_2', 'transformer', 'vae'])
    await symlink(join(model, name), join(folder, name));
  for (const name of ['model_index.json', 'generation_config.json', 'scheduler', 'tokenizer', 'tokenizer_2'])
    await cp(join(model, name), join(folder, name), { recursive: true });
});
afterAll(() => rm(folder, { recursive: true }));

describe('a tokenizer with a model_max_length that its encoder does not have', () => {
  it.each([25, 1e9])('of %d is refused before anything is padded', async (length) => {
    const path = join(folder, 'tokenizer', 'tokenizer_config.json');
    const config = JSON.parse(await readFile(path, 'utf8'));
    await writeFile(path, JSON.stringify({ ...config, model_max_length: length }));
    const pipe = await DiffusionPipeline.fromPretrained(folder);
    try {
      await expect(pipe.generate({ prompt: 'a red apple', seed: 1 })).rejects.toThrow(
        `text_encoder: texts of ${length} tokens do not fit its 24 positions; is model_max_length of its tokenizer right?`,
      );
    } finally {
      await pipe.dispose();
    }
  });
});
