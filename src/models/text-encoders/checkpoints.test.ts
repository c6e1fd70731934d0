/** Checkpoints in the shapes that versions of Transformers gave them, and what is wrong with those that do not work. */
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { intTensor } from '../../tensor/tensor.ts';
import { readConfig } from '../../weights/model-folder.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import { memoryWeights } from '../../weights/weight-source.ts';
import { WeightStore } from '../../weights/weight-store.ts';
import { ConfigReader } from '../config-reader.ts';
import { GraphModel } from '../graph-model.ts';
import type { ForwardInputs } from '../inputs.ts';
import { defaultPrograms } from '../load/programs.ts';
import { findGraphModel } from '../registry.ts';
import { fixtures, relativeError } from '../testing/golden.ts';
import { loadEncoder } from './testing/parity.ts';

const folderOf = (kind: string) => path.join(fixtures, 'text-encoders', kind);

/** The model of a fixture with its weights changed, and token ids to try it with. */
async function load(kind: string, change: (name: string) => string | undefined) {
  const [{ className, config, path: configPath }, original, golden, programs] = await Promise.all([
    readConfig(folderOf(kind)),
    readSafetensors(path.join(folderOf(kind), 'model.safetensors')),
    readSafetensors(path.join(folderOf(kind), 'io.safetensors')),
    defaultPrograms(),
  ]);
  const changed = Object.entries(original).flatMap(([name, tensor]) => {
    const to = change(name);
    return to === undefined ? [] : [[to, tensor] as const];
  });
  const source = memoryWeights(Object.fromEntries(changed));
  const weights = await WeightStore.load(source, { backend: programs.backend, origin: kind });
  const definition = (await findGraphModel(className!))!.configure(new ConfigReader(config, configPath));
  return { model: new GraphModel(definition, weights, programs), golden, ids: golden.input_ids! };
}

describe('names of weights', () => {
  const prefixed = (prefix: string) => (name: string) => `${prefix}.${name}`;
  it.each([
    ['clip_l', prefixed('text_model')],
    ['t5_v1_1', (name: string) => name.replace('shared.', 'encoder.embed_tokens.')],
    ['qwen3', prefixed('model')],
    ['qwen3', prefixed('model.language_model')],
    ['qwen3', prefixed('language_model')],
  ])('%s under other names', async (kind, rename) => {
    const { model, golden, ids } = await load(kind, rename);
    const { last_hidden_state } = await model.forward({ input_ids: ids });
    const expected = golden['nomask.last_hidden_state'] ?? golden.last_hidden_state!;
    expect(relativeError(last_hidden_state!, expected)).toBeLessThan(1e-4);
    await model.dispose();
  });

  it('names a tensor that is missing', async () => {
    const missing = 'encoder.block.1.layer.0.SelfAttention.k.weight';
    const { model, ids } = await load('t5_v1_1', (name) => (name === missing ? undefined : name));
    await expect(model.forward({ input_ids: ids })).rejects.toThrow(`no tensor '${missing}'`);
    await model.dispose();
  });
});

describe('chosen hidden states', () => {
  it.each([
    ['t5_v1_1', /^encoder\.(block\.1|final_layer_norm)\./],
    ['qwen3', /^(layers\.2|norm)\./],
  ])('%s: what comes after them is not computed', async (kind, after) => {
    const { model, ids } = await load(kind, (name) => (after.test(name) ? undefined : name));
    const outputs = await model.forward({ input_ids: ids, output_hidden_states: [-2, 0] });
    expect(Object.keys(outputs).sort()).toEqual(['hidden_states.-2', 'hidden_states.0']);
    await expect(model.forward({ input_ids: ids })).rejects.toThrow(/no tensor/);
    await model.dispose();
  });
});

describe('inputs', () => {
  it.each<[string, ForwardInputs, RegExp]>([
    [
      'clip_l',
      { input_ids: intTensor([923, 5000], [1, 2]) },
      /^input_ids: id 5000 at \[0, 1\] is outside the vocabulary of 925/,
    ],
    ['clip_l', { input_ids: intTensor([-1], [1, 1]) }, /^input_ids: id -1 at \[0, 0\]/],
    ['clip_l', { input_ids: intTensor(Array(21).fill(924), [1, 21]) }, /^input_ids: 21 tokens, but the model has 20/],
    ['clip_l', { input_ids: intTensor([923, 5], [1, 2]) }, /^input_ids: row 0 has no end token \(id 924\)/],
    ['clip_l', { input_ids: intTensor([923], [1]) }, /^input_ids: shape \[1\], expected \[batch, tokens\]/],
    [
      'qwen3',
      { input_ids: intTensor([1, 2], [1, 2]), attention_mask: intTensor([1], [1, 1]) },
      /^attention_mask: shape/,
    ],
    [
      'qwen3',
      { input_ids: intTensor([1], [1, 1]), output_hidden_states: [4] },
      /^output_hidden_states: .*from -4 to 3, got \[4\]/,
    ],
    [
      'qwen3',
      { input_ids: intTensor([1], [1, 1]), output_hidden_states: [-5] },
      /^output_hidden_states: .*from -4 to 3/,
    ],
    ['qwen3', { input_ids: intTensor([1], [1, 1]), output_hidden_states: [] }, /^output_hidden_states: /],
    ['qwen3', { input_ids: intTensor([1], [1, 1]), output_hidden_states: 2 }, /^output_hidden_states: /],
  ])('%s refuses %#', async (kind, inputs, message) => {
    const model = await loadEncoder(folderOf(kind));
    await expect(model.forward(inputs)).rejects.toThrow(message);
    await model.dispose();
  });
});

describe('configs', () => {
  it.each<[string, Record<string, unknown>, RegExp]>([
    ['CLIPTextModel', { hidden_act: 'swish2' }, /'hidden_act' is "swish2", expected one of gelu/],
    [
      'T5EncoderModel',
      { feed_forward_proj: 'gated-tanh' },
      /'feed_forward_proj' is "gated-tanh", expected one of relu/,
    ],
    [
      'LlamaModel',
      { rope_scaling: { type: 'dynamic', factor: 4 } },
      /rope_type 'dynamic' is not supported, only default/,
    ],
    ['LlamaModel', { rope_parameters: { rope_type: 'llama3', factor: 8 } }, /'low_freq_factor' is missing/],
    ['LlamaModel', { num_attention_heads: 5, hidden_size: 40, num_key_value_heads: 2 }, /5 heads cannot share 2/],
    ['Gemma2Model', { use_bidirectional_attention: true }, /use_bidirectional_attention = true \(only false is\)/],
    ['Gemma2Model', { layer_types: ['full_attention'] }, /'layer_types' has 1 entries for 26 layers/],
    ['Gemma2Model', { num_hidden_layers: 1, layer_types: ['chunked'] }, /'layer_types' has 'chunked'/],
  ])('%s refuses %j', async (className, json, message) => {
    const family = (await findGraphModel(className))!;
    expect(() => family.configure(new ConfigReader(json, 'config.json'))).toThrow(message);
  });
});
