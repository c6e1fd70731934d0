import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Tensor } from '../../tensor/tensor.ts';
import { floatTensor, intTensor } from '../../tensor/tensor.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import { loadModel } from '../auto-model.ts';
import { GraphModel } from '../graph-model.ts';
import type { ForwardInputs } from '../inputs.ts';
import { fixtures, relativeError } from '../testing/golden.ts';

const folderOf = (name: string) => path.join(fixtures, 'controlnets', name);

async function load(name: string): Promise<GraphModel> {
  const model = await loadModel(folderOf(name));
  if (model instanceof GraphModel) return model;
  throw new Error('expected a GraphModel');
}

async function recordedCall(name: string): Promise<{ inputs: ForwardInputs; samples: Record<string, Tensor> }> {
  const tensors = Object.entries(await readSafetensors(path.join(folderOf(name), 'io.safetensors')));
  const isSample = ([key]: [string, Tensor]) => key.includes('samples');
  return {
    inputs: {
      ...Object.fromEntries(tensors.filter((entry) => !isSample(entry))),
      ...JSON.parse(readFileSync(path.join(folderOf(name), 'io.json'), 'utf8')),
    },
    samples: Object.fromEntries(tensors.filter(isSample)),
  };
}

describe('ControlNets', () => {
  it.each([
    'flux_controlnet',
    'flux_controlnet_union',
    'flux_controlnet_xlabs',
    'qwenimage_controlnet',
    'qwenimage_controlnet_inpaint',
    'sd3_controlnet',
    'sd3_controlnet_8b',
    'sd3_controlnet_inpaint',
  ])('%s returns what Diffusers does for every block', async (name) => {
    const { inputs, samples } = await recordedCall(name);
    await using net = await load(name);
    const outputs = await net.forward(inputs);
    expect(Object.keys(outputs).sort()).toEqual(Object.keys(samples).sort());
    for (const [key, output] of Object.entries(outputs))
      expect(relativeError(output, samples[key]!), key).toBeLessThan(1e-5);
  });

  it.each([
    ['flux_controlnet_union', { controlnet_mode: intTensor([3], [1, 1]) }, 'controlnet_mode: mode 3, expected 0 to 2'],
    ['flux_controlnet', { conditioning_scale: [1] }, 'conditioning_scale: expected a number'],
    [
      'flux_controlnet_xlabs',
      { controlnet_cond: zeros([2, 3, 32, 40]) },
      'controlnet_cond: shape [2,3,32,40], expected 6 squares of 16² pixels',
    ],
    [
      'sd3_controlnet_8b',
      { controlnet_cond: zeros([2, 4, 6, 8]) },
      'hidden_states: 15 tokens, the picture of controlnet_cond has 12',
    ],
    [
      'sd3_controlnet',
      { hidden_states: zeros([2, 4, 26, 10]), controlnet_cond: zeros([2, 4, 26, 10]) },
      "hidden_states: shape [2,4,26,10], this model's position table covers [24,24] latent pixels at most",
    ],
    [
      'qwenimage_controlnet',
      { controlnet_cond: zeros([2, 15, 20]) },
      'controlnet_cond: shape [2,15,20], expected [batch=2, image_tokens=15, 16]',
    ],
  ])('%s refuses what does not fit', async (name, changed, message) => {
    const { inputs } = await recordedCall(name);
    await using net = await load(name);
    await expect(net.forward({ ...inputs, ...changed })).rejects.toThrow(message);
  });
});

function zeros(shape: number[]): Tensor {
  return floatTensor(new Float32Array(shape.reduce((size, edge) => size * edge, 1)), shape);
}
