import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { intTensor } from '../../tensor/tensor.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import { loadModel } from '../auto-model.ts';
import { GraphModel } from '../graph-model.ts';
import { fixtures, relativeError } from '../testing/golden.ts';

describe.each(['flux_controlnet', 'flux_controlnet_union'])('FluxControlNetModel: %s', (name) => {
  const folder = path.join(fixtures, 'controlnets', name);

  it('returns what Diffusers does for every block', async () => {
    const recorded = await readSafetensors(path.join(folder, 'io.safetensors'));
    const { conditioning_scale } = JSON.parse(readFileSync(path.join(folder, 'io.json'), 'utf8'));
    const model = await loadModel(folder);
    if (!(model instanceof GraphModel)) throw new Error('expected a GraphModel');
    await using net = model;
    const isOutput = (key: string) => key.includes('samples');
    const inputs = Object.fromEntries(Object.entries(recorded).filter(([key]) => !isOutput(key)));
    const outputs = await net.forward({ ...inputs, conditioning_scale });
    expect(Object.keys(outputs).sort()).toEqual(Object.keys(recorded).filter(isOutput).sort());
    for (const [key, output] of Object.entries(outputs))
      expect(relativeError(output, recorded[key]!), key).toBeLessThan(1e-5);
    if (recorded.controlnet_mode)
      await expect(net.forward({ ...inputs, controlnet_mode: intTensor([3], [1, 1]) })).rejects.toThrow(
        'controlnet_mode: mode 3, expected 0 to 2',
      );
  });
});
