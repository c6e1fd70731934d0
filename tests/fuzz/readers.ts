/** Everything in the engine that reads files it has not written: how to damage one, and how to read it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { loadConfigs } from '../../src/api/load-configs.ts';
import { readJsonFile } from '../../src/files/json.ts';
import { damageBytes, damageSafetensors, damageText, type Random } from '../../src/files/testing/fuzz.ts';
import { Image } from '../../src/images/image.ts';
import { readMetadata } from '../../src/images/read-metadata.ts';
import { ConfigReader } from '../../src/models/config-reader.ts';
import { findGraphModel, findTransformer } from '../../src/models/registry.ts';
import { loadScheduler } from '../../src/pipelines/components.ts';
import { loadTokenizer } from '../../src/tokenizers/tokenizer.ts';
import { readQuantConfig } from '../../src/weights/formats/quantized-checkpoint.ts';
import { ggufFile, ggufText, uint32 } from '../../src/weights/gguf/testing/gguf-file.ts';
import { readLora } from '../../src/weights/lora/lora-file.ts';
import { openModelFolder, readConfig } from '../../src/weights/model-folder.ts';
import { openWeights } from '../../src/weights/open-weights.ts';
import { readSafetensors } from '../../src/weights/safetensors/safetensors.ts';
import { openSingleFile } from '../../src/weights/single-file/open-single-file.ts';

export interface Reader {
  name: string;
  /** The file that is damaged, and those it needs beside it. */
  file: string;
  good: Buffer;
  beside?: Record<string, Buffer>;
  format: 'json' | 'yaml' | 'safetensors' | 'bytes';
  damage(good: Buffer, random: Random): Buffer;
  /** Reads what lies in the folder. */
  read(folder: string): Promise<unknown>;
}

const damages = { json: damageText, yaml: damageText, safetensors: damageSafetensors, bytes: damageBytes };
const root = path.resolve(import.meta.dirname, '../..');
const load = (...parts: string[]) => readFileSync(path.join(root, ...parts));
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

const weights = load('fixtures/weights/python.safetensors');
const lora = load('fixtures/lora/pipeline/pytorch_lora_weights.safetensors');
const tokenizer = load('fixtures/tokenizers/clip/tokenizer.json');
const index = { metadata: { total_size: 12 }, weight_map: {} as Record<string, string> };
for (const name of Object.keys(JSON.parse(weights.subarray(8, 8 + Number(weights.readBigUInt64LE())).toString())))
  if (name !== '__metadata__') index.weight_map[name] = 'model-00001-of-00001.safetensors';

const settings = `cache_config:
  Fn_compute_blocks: 8
  residual_diff_threshold: 0.08
  steps_computation_mask: [1, 0, 1]
calibrator_config: { type: learned, coefficients: coefficients.json }
quantize_config:
  quant_type: "int8_per_row" # comment
`;
const coefficients = { entries: [] };

async function readWeights(folder: string): Promise<void> {
  const source = await openWeights(folder);
  try {
    await source.readMany(source.names, () => {});
  } finally {
    await source.close();
  }
}

const gguf = ggufFile({
  metadata: [
    ['general.architecture', 8, ggufText('flux')],
    ['general.alignment', 4, uint32(32)],
  ],
  tensors: [2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23].map((type) => ({
    name: `blocks.${type}.weight`,
    sizes: [256, 1],
    type,
    data: new Uint8Array(512).fill(0x35),
  })),
});

async function readGguf(folder: string): Promise<void> {
  const source = await openSingleFile(path.join(folder, 'x.gguf'), { component: 'transformer', names: {}, model: {} });
  try {
    await source.readMany(source.names, () => {});
    const held = source.stored!.hold(new Set(source.names));
    await held.readMany(held.names, () => {});
  } finally {
    await source.close();
  }
}

/** A text through a tokenizer, so that faults that show late show too. */
async function tokenize(folder: string): Promise<void> {
  const found = await loadTokenizer(folder);
  await found.encode('A red apple, 猫 </s>');
}

async function configure(folder: string): Promise<void> {
  const { className = '', config, path: file } = await readConfig(folder);
  const reader = new ConfigReader(config, file);
  (await findTransformer(className))?.configure(reader);
  (await findGraphModel(className))?.configure(reader);
}

const configs = [
  ...['flux', 'sd3', 'wan', 'qwenimage', 'zimage', 'sana', 'dit', 'pixart'].map((name) => `models/${name}`),
  ...['clip_l', 't5_v1_1', 'qwen2_5_vl', 'gemma2', 'llama31_ropescaled'].map((name) => `text-encoders/${name}`),
  ...['autoencoder_kl', 'autoencoder_kl_wan', 'autoencoder_dc', 'autoencoder_tiny'].map(
    (name) => `autoencoders/${name}`,
  ),
];

export async function allReaders(): Promise<Reader[]> {
  const pixels = sharp({ create: { width: 24, height: 16, channels: 3, background: '#c33' } });
  const images: [string, Buffer][] = [
    ['a1111.png', load('fixtures/images/a1111.png')],
    ['rgba.png', load('fixtures/images/rgba.png')],
    ['a1111.jpg', load('fixtures/images/a1111.jpg')],
    ['a1111.webp', load('fixtures/images/a1111.webp')],
    ['made.gif', await pixels.clone().gif().toBuffer()],
    ['made.avif', await pixels.clone().avif().toBuffer()],
  ];
  const readers: Omit<Reader, 'damage'>[] = [
    {
      name: 'safetensors',
      file: 'x.safetensors',
      format: 'safetensors',
      good: weights,
      read: (folder) => readSafetensors(path.join(folder, 'x.safetensors')),
    },
    { name: 'weights', file: 'model.safetensors', format: 'safetensors', good: weights, read: readWeights },
    { name: 'GGUF', file: 'x.gguf', format: 'bytes', good: gguf, read: readGguf },
    {
      name: 'index of shards',
      file: 'model.safetensors.index.json',
      format: 'json',
      good: json(index),
      beside: { 'model-00001-of-00001.safetensors': weights },
      read: readWeights,
    },
    {
      name: 'quant_config.json',
      file: 'quant_config.json',
      format: 'json',
      good: json({
        format: 'deja_dit_quant_config',
        version: 1,
        quant_type: 'int8_per_row',
        weights: {
          'a.weight': { format: { kind: 'int8', scales: 'row', activations: 'row' }, shape: [8, 8] },
          'b.weight': { format: { kind: 'float8', scales: 'row', activations: 'row' }, shape: [4, 4] },
        },
      }),
      read: readQuantConfig,
    },
    {
      name: 'model_index.json',
      file: 'model_index.json',
      format: 'json',
      good: load('models/emoji-flux/model_index.json'),
      read: openModelFolder,
    },
    ...configs.map((place) => ({
      name: `config.json of ${place}`,
      file: 'config.json',
      format: 'json' as const,
      good: load('fixtures', place, 'config.json'),
      read: configure,
    })),
    {
      name: 'scheduler_config.json',
      file: 'scheduler_config.json',
      format: 'json',
      good: load('models/emoji-flux/scheduler/scheduler_config.json'),
      read: async (folder) => {
        const { className = '' } = await readConfig(folder, 'scheduler_config.json');
        return loadScheduler(folder, className);
      },
    },
    { name: 'tokenizer.json', file: 'tokenizer.json', format: 'json', good: tokenizer, read: tokenize },
    ...['gemma', 't5_unigram', 'qwen'].map((name) => ({
      name: `tokenizer.json of ${name}`,
      file: 'tokenizer.json',
      format: 'json' as const,
      good: load('fixtures/tokenizers', name, 'tokenizer.json'),
      read: tokenize,
    })),
    {
      name: 'tokenizer_config.json',
      file: 'tokenizer_config.json',
      format: 'json',
      good: load('fixtures/tokenizers/emoji_clip/tokenizer_config.json'),
      beside: { 'tokenizer.json': tokenizer },
      read: tokenize,
    },
    {
      name: 'spiece.model',
      file: 'spiece.model',
      format: 'bytes',
      good: load('fixtures/tokenizers/t5_spiece/spiece.model'),
      beside: { 'tokenizer_config.json': load('fixtures/tokenizers/t5_spiece/tokenizer_config.json') },
      read: tokenize,
    },
    {
      name: 'LoRA',
      file: 'pytorch_lora_weights.safetensors',
      format: 'safetensors',
      good: lora,
      read: (folder) => readLora(folder, { components: ['transformer'] }),
    },
    {
      name: 'adapter_config.json',
      file: 'adapter_config.json',
      format: 'json',
      good: json({ lora_alpha: 8, r: 4, alpha_pattern: { 'blocks.0': 3 }, use_rslora: false }),
      beside: { 'adapter_model.safetensors': lora },
      read: (folder) => readLora(folder, { components: ['transformer'] }),
    },
    ...images.map(([file, good]) => ({
      name: `image ${file}`,
      file,
      format: 'bytes' as const,
      good,
      read: async (folder: string) => {
        await readMetadata(path.join(folder, file));
        return Image.load(path.join(folder, file));
      },
    })),
    {
      name: 'settings in YAML',
      file: 'cache.yaml',
      format: 'yaml',
      good: Buffer.from(settings),
      beside: { 'coefficients.json': json(coefficients) },
      read: async (folder) => loadConfigs(path.join(folder, 'cache.yaml')),
    },
    {
      name: 'settings in JSON',
      file: 'cache.json',
      format: 'json',
      good: json({ cache_config: { max_warmup_steps: 4, enable_taylorseer: true, taylorseer_order: 1 } }),
      read: async (folder) => loadConfigs(path.join(folder, 'cache.json')),
    },
    {
      name: 'coefficients',
      file: 'coefficients.json',
      format: 'json',
      good: json(coefficients),
      beside: { 'cache.yaml': Buffer.from(settings) },
      read: async (folder) => loadConfigs(path.join(folder, 'cache.yaml')),
    },
    {
      name: 'any JSON',
      file: 'x.json',
      format: 'json',
      good: json({ a: [1, 'two', null], b: { c: true } }),
      read: (folder) => readJsonFile(path.join(folder, 'x.json'), { uniqueKeys: true }),
    },
  ];
  return readers.map((reader) => ({ ...reader, damage: damages[reader.format] }));
}
