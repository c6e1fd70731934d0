/**
 * Every family that has a table of original names: a checkpoint renamed back by it computes what it did, whole and under a prefix. That the
 * names themselves are those of real files is checked for a few of each, as they stand in published checkpoints.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Tensor } from '../../tensor/tensor.ts';
import { originalTensors } from '../../weights/names/testing/original-tensors.ts';
import { openWeights } from '../../weights/open-weights.ts';
import { writeSafetensors } from '../../weights/safetensors/write-safetensors.ts';
import { recogniseFile } from '../../weights/single-file/known-files.ts';
import { AutoModel, loadModel } from '../auto-model.ts';
import { Autoencoder } from '../autoencoders/autoencoder.ts';
import { fixtures, readGolden } from '../testing/golden.ts';
import { loadSingleFile } from './load-single-file.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-names-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function tensorsOf(place: string): Promise<Record<string, Tensor>> {
  const source = await openWeights(place);
  const tensors: Record<string, Tensor> = {};
  await source.readMany(
    source.names,
    (name, tensor) => {
      tensors[name] = tensor;
    },
    { widen: 'float32' },
  );
  await source.close();
  return tensors;
}

describe.each<[family: string, title: string, names: readonly string[]]>([
  ['flux', 'FLUX.1', ['double_blocks.0.img_attn.qkv.weight', 'single_blocks.1.linear2.bias']],
  ['flux2', 'FLUX.2', ['double_stream_modulation_img.lin.weight', 'single_blocks.0.linear1.weight']],
  ['chroma', 'Chroma', ['distilled_guidance_layer.layers.0.in_layer.weight', 'distilled_guidance_layer.norms.0.scale']],
  [
    'sd3',
    'Stable Diffusion 3',
    ['pos_embed', 'joint_blocks.0.context_block.attn.qkv.weight', 'final_layer.linear.bias'],
  ],
  [
    'wan',
    'Wan',
    ['blocks.0.self_attn.norm_q.weight', 'blocks.0.modulation', 'head.modulation', 'blocks.0.norm3.weight'],
  ],
  ['wan_i2v', 'Wan', ['img_emb.proj.1.weight', 'blocks.0.cross_attn.k_img.weight']],
  ['zimage', 'Z-Image', ['layers.0.attention.qkv.weight', 'x_embedder.weight', 'cap_pad_token']],
  ['lumina2', 'Lumina 2', ['layers.0.attention.qkv.weight', 'context_refiner.0.attention_norm1.weight']],
  ['hunyuanvideo', 'HunyuanVideo', ['double_blocks.0.img_attn_qkv.weight', 'txt_in.c_embedder.linear_1.weight']],
  ['ltx', 'LTX-Video', ['patchify_proj.weight', 'adaln_single.emb.timestep_embedder.linear_1.weight']],
  ['auraflow', 'AuraFlow', ['double_layers.0.attn.w1q.weight', 'modF.1.weight', 'register_tokens']],
  ['qwenimage', 'Qwen-Image', ['transformer_blocks.0.attn.add_q_proj.weight']],
])('%s', (family, title, names) => {
  it('computes the same from a file under its original names', async () => {
    const config = path.join(fixtures, 'models', family);
    const { inputs } = await readGolden(`models/${family}`);
    await using model = await AutoModel.fromPretrained(config);
    const expected = (await model.forward(inputs)).sample as Tensor;
    const tensors = originalTensors(await tensorsOf(config), model.definition.originalNames);
    expect(Object.keys(tensors)).toEqual(expect.arrayContaining([...names]));
    expect(recogniseFile(Object.keys(tensors))?.title).toBe(title);
    expect(recogniseFile(Object.keys(tensors))?.className).toBe(model.className);

    const file = path.join(folder, `${family}.safetensors`);
    const prefixed = Object.entries(tensors).map(
      ([name, tensor]) => [`model.diffusion_model.${name}`, tensor] as const,
    );
    await writeSafetensors(file, Object.fromEntries(prefixed));
    await using renamed = await AutoModel.fromSingleFile(file, { config });
    expect(((await renamed.forward(inputs)).sample as Tensor).data).toEqual(expected.data);
  });
});

it.each(['autoencoder_kl', 'autoencoder_kl_flux', 'autoencoder_kl_flux2'])('%s', async (name) => {
  const config = path.join(fixtures, 'autoencoders', name);
  await using autoencoder = await Autoencoder.fromPretrained(config);
  const { definition } = autoencoder.model;
  const tensors = originalTensors(await tensorsOf(config), definition.originalNames);
  const known = ['decoder.up.0.block.0.conv1.weight', 'encoder.mid.attn_1.q.weight', 'decoder.norm_out.bias'];
  expect(Object.keys(tensors)).toEqual(expect.arrayContaining(known));
  expect(tensors['encoder.mid.attn_1.q.weight']!.shape.slice(2)).toEqual([1, 1]);
  const file = path.join(folder, `${name}.safetensors`);
  const beside = { 'model.diffusion_model.other.weight': tensors['decoder.norm_out.bias']! };
  const prefixed = Object.entries(tensors).map(([key, tensor]) => [`vae.${key}`, tensor] as const);
  await writeSafetensors(file, { ...Object.fromEntries(prefixed), ...beside });
  const model = await loadSingleFile(file, { config, component: 'vae' });
  await using renamed = await Autoencoder.of(model);
  const channels = autoencoder.latentChannels;
  const latents = new Tensor(
    'float32',
    Float32Array.from({ length: channels * 16 }, (_, i) => Math.sin(i)),
    [1, channels, 4, 4],
  );
  expect((await renamed.decode(latents)).data).toEqual((await autoencoder.decode(latents)).data);
});

it('tells text encoders in one file apart', async () => {
  const encoders = { clip_l: 'clip_l', t5xxl: 't5_v1_1' };
  const all: Record<string, Tensor> = {};
  for (const [kind, place] of Object.entries(encoders))
    for (const [name, tensor] of Object.entries(await tensorsOf(path.join(fixtures, 'text-encoders', place))))
      all[`text_encoders.${kind}.transformer.${name}`] = tensor;
  const file = path.join(folder, 'encoders.safetensors');
  await writeSafetensors(file, all);
  for (const place of Object.values(encoders)) {
    const config = path.join(fixtures, 'text-encoders', place);
    await using found = await loadSingleFile(file, { config, component: 'text_encoder_2' });
    await using own = await loadModel(config);
    expect(found.weights.names.toSorted()).toEqual(own.weights.names.toSorted());
  }
});
