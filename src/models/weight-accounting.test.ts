/** Every tensor of every checkpoint here: left out it is an error that names it, left over an error or a warning that does. */
import { describe, expect, it } from 'vitest';
import { derivedSource, type WeightSource } from '../weights/weight-source.ts';
import { checkpointFolders, openCheckpoint } from './testing/checkpoints.ts';
import { accountWeights, leftOver, usedWeights } from './weight-accounting.ts';

/** Tensors that are there and not read. */
const ignoredIn: Readonly<Record<string, readonly string[]>> = {
  'autoencoders/autoencoder_dc_pixelshuffle': [0, 1].map((i) => `decoder.up_blocks.${i}.1.norm.num_batches_tracked`),
  'text-encoders/llama_linear': ['lm_head.weight'],
  'text-encoders/qwen2_window': ['lm_head.weight'],
  'autoencoders/autoencoder_kl_flux2': ['bn.num_batches_tracked', 'bn.running_mean', 'bn.running_var'],
};

const options = { origin: 'checkpoint', weightDtype: 'float32' } as const;

const without = (source: WeightSource, left: string) =>
  derivedSource(source, {
    names: source.names.filter((name) => name !== left),
    has: (name) => name !== left && source.has(name),
  });

describe.each(checkpointFolders)('%s', (folder) => {
  it('is read to the last tensor, each of which is missed', async () => {
    const { config, configure, source } = await openCheckpoint(folder);
    const model = configure(config);
    const { names, warning } = accountWeights(model, source, options);
    expect(warning).toBeUndefined();
    expect(source.names.filter((name) => !names.includes(name))).toEqual(ignoredIn[folder] ?? []);
    for (const name of names) {
      const missing = `checkpoint: the checkpoint has no tensor '${name}'`;
      expect(() => usedWeights(model, without(source, name), options), name).toThrow(missing);
    }
  });

  it('names a tensor too many beside each of its own', async () => {
    const { config, configure, source } = await openCheckpoint(folder);
    const model = configure(config);
    const used = usedWeights(model, source, options);
    for (const name of used) {
      const extra = name.replace(/[^.]+$/, 'stranger');
      expect(said(model, { names: [...source.names, extra], used, origin: 'checkpoint' }), extra).toContain(
        `'${extra}'`,
      );
    }
  });
});

/** The warning or the error about what is left over. */
function said(...args: Parameters<typeof leftOver>): string | undefined {
  try {
    return leftOver(...args);
  } catch (error) {
    return (error as Error).message;
  }
}
