/** `deja-dit generate --lora-path`, from flags to the picture's metadata. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Image } from '../../images/image.ts';
import { readMetadata } from '../../images/read-metadata.ts';
import { fixtures } from '../../models/testing/golden.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import { writeSafetensors } from '../../weights/safetensors/write-safetensors.ts';
import { generate } from './generate.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-cli-'));
});
afterEach(() => rm(folder, { recursive: true }));

const flags = { model: path.resolve(fixtures, '../models/emoji-flux'), steps: 1, seed: 7, threads: 1, quiet: true };

it('draws with a LoRA and says so in the metadata', { timeout: 60_000 }, async () => {
  const draw = async (name: string, lora: object) => {
    const out = path.join(folder, name);
    await generate('red apple', { ...flags, ...lora, out, backend: 'cpu' });
    return { data: (await Image.load(out)).data, metadata: await readMetadata(out) };
  };
  const matrix = (shape: [number, number]) => floatTensor(new Float32Array(shape[0] * shape[1]).fill(0.02), shape);
  await writeSafetensors(path.join(folder, 'style.safetensors'), {
    'transformer.proj_out.lora_A.weight': matrix([2, 256]),
    'transformer.proj_out.lora_B.weight': matrix([64, 2]),
  });
  const plain = await draw('plain.png', {});
  expect(plain.metadata).not.toHaveProperty('lora');
  const lora = { loraPath: folder, loraName: 'style.safetensors' };
  const styled = await draw('styled.png', { ...lora, loraScale: 20 });
  expect(styled.metadata).toMatchObject({ lora: 'style.safetensors', loraScale: 20 });
  expect(styled.data).not.toEqual(plain.data);
  expect((await draw('off.png', { ...lora, loraScale: 0 })).data).toEqual(plain.data);
});

it('refuses flags that lead nowhere', async () => {
  const scaled = generate('red apple', { ...flags, loraScale: 1, backend: 'cpu' });
  await expect(scaled).rejects.toThrow('--lora-scale has no effect without --lora-path');
});
