/**
 * Every family under every scheme computes what one process computes. The models are small, with odd numbers of tokens and fewer heads than
 * some schemes have ranks. Here the ranks take turns in one thread; threads of their own are for `threads.test.ts`.
 */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AutoModel } from '../models/auto-model.ts';
import type { ModelOutput } from '../models/definition.ts';
import { fixtures, type GoldenCase, readGolden } from '../models/testing/golden.ts';
import type { TransformerModel } from '../models/transformer-model.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { MeshSize } from './partition/mesh.ts';
import type { Features } from './partition/partition.ts';
import { inOneThread, largestError } from './testing/ranks.ts';

const families = ['flux', 'qwenimage', 'wan', 'zimage', 'sd3', 'dit', 'sana', 'hunyuanvideo'];
/** Of these only what joins all schemes. */
const others = ['flux2', 'chroma', 'cogview4', 'ltx', 'lumina2', 'pixart'];

const schemes: Record<string, Partial<MeshSize>> = {
  'ulysses 2': { ulysses: 2 },
  'ulysses 4': { ulysses: 4 },
  'ring 2': { ring: 2 },
  'tp 2': { tensor: 2 },
  'ring 2, ulysses 2': { ring: 2, ulysses: 2 },
  'ulysses 2, tp 2': { ulysses: 2, tensor: 2 },
  'ring 2, ulysses 2, tp 2': { ring: 2, ulysses: 2, tensor: 2 },
};

describe.each([...families, ...others])('%s', (family) => {
  let model: TransformerModel;
  let golden: GoldenCase;
  let alone: ModelOutput;

  beforeAll(async () => {
    model = await AutoModel.fromPretrained(path.join(fixtures, 'models', family));
    golden = await readGolden(`models/${family}`);
    alone = await model.forward(golden.inputs);
  });
  afterAll(() => model.dispose());

  const names = Object.keys(schemes);
  it.each(families.includes(family) ? names : names.slice(-1))('%s', async (name) => {
    model.moveTo(inOneThread(model, schemes[name]!));
    expect(largestError(await model.forward(golden.inputs), alone)).toBeLessThan(1e-5);
  });
});

/** What three bits of fraction leave of small models: from 0.3 to 2 % of the largest number. */
describe('in 8 bits between ranks', () => {
  it.each<[string, Partial<MeshSize>, Partial<Features>]>([
    ['flux', { ulysses: 2 }, {}],
    ['flux', { ulysses: 4 }, { async: true }],
    ...['flux', 'qwenimage', 'wan', 'zimage', 'sd3', 'hunyuanvideo'].map(
      (family): [string, Partial<MeshSize>, Partial<Features>] => [family, { ring: 2, ulysses: 2, tensor: 2 }, {}],
    ),
  ])('%s on %j %j', async (family, size, features) => {
    await using model = await AutoModel.fromPretrained(path.join(fixtures, 'models', family));
    const { inputs } = await readGolden(`models/${family}`);
    const alone = await model.forward(inputs);
    model.moveTo(inOneThread(model, size, { ...features, float8: true }));
    const error = largestError(await model.forward(inputs), alone);
    expect(error).toBeLessThan(3e-2);
    // They have travelled in 8 bits.
    expect(error).toBeGreaterThan(1e-4);
  });
});

/** Two texts of different lengths, in one call: what fills the shorter one up is attended to nowhere, whichever rank has it. */
describe.each([
  ['qwenimage', 'io_b2'],
  ['hunyuanvideo', 'io_b2'],
  ['lumina2_ragged', 'io'],
])('%s, two texts under a mask', (family, recording) => {
  it.each<Partial<MeshSize>>([
    { ulysses: 2 },
    { ulysses: 4 },
    { ring: 2, ulysses: 2 },
    { batch: 2, ulysses: 2 },
  ])('on %j', async (size) => {
    await using model = await AutoModel.fromPretrained(path.join(fixtures, 'models', family));
    const { inputs } = await readGolden(`models/${family}`, recording);
    const alone = await model.forward(inputs);
    model.moveTo(inOneThread(model, size));
    expect(largestError(await model.forward(inputs), alone)).toBeLessThan(1e-5);
  });
});

const twoSamples = ['flux', 'sd3', 'dit', 'sana'];

describe.each(twoSamples)('%s, two samples', (family) => {
  it.each<Partial<MeshSize>>([
    { batch: 2 },
    { batch: 2, tensor: 2 },
    { batch: 2, ulysses: 2 },
    { batch: 2, ring: 2 },
  ])('on %j', async (size) => {
    await using model = await AutoModel.fromPretrained(path.join(fixtures, 'models', family));
    const { inputs } = await readGolden(`models/${family}`, 'io_b2');
    const alone = await model.forward(inputs);
    model.moveTo(inOneThread(model, size));
    expect(largestError(await model.forward(inputs), alone)).toBeLessThan(1e-5);
  });
});

describe('what is exchanged', () => {
  /** Bytes that rank 0 gets in one call, by kind. */
  async function received(size: Partial<MeshSize>, features: Partial<Features> = {}) {
    await using model = await AutoModel.fromPretrained(path.join(fixtures, 'models', 'flux'));
    const { inputs } = await readGolden('models/flux');
    model.moveTo(inOneThread(model, size, features));
    await model.forward(inputs);
    const { collectives } = model.programs.backend.ranksReport!;
    const config = model.config as {
      num_layers: number;
      num_single_layers: number;
      num_attention_heads: number;
      attention_head_dim: number;
    };
    const tokens = [inputs['hidden_states'], inputs['encoder_hidden_states']].map((x) => (x as Tensor).dim(1));
    return {
      bytes: Object.fromEntries(Object.entries(collectives).map(([kind, { bytes }]) => [kind, bytes])),
      calls: Object.fromEntries(Object.entries(collectives).map(([kind, { calls }]) => [kind, calls])),
      blocks: config.num_layers + config.num_single_layers,
      config,
      heads: config.num_attention_heads,
      headDim: config.attention_head_dim,
      tokens,
    };
  }

  /** Tokens of the first ranks when both streams are dealt out, the first having the larger parts. Default: of rank 0. */
  const share = (tokens: readonly number[], ranks: number, first = 1) =>
    tokens.reduce((sum, count) => sum + first * Math.floor(count / ranks) + Math.min(first, count % ranks), 0);

  it('by Ulysses: the other ranks’ tokens for one’s own heads, and the other heads’ results for one’s own tokens', async () => {
    const { bytes, blocks, heads, headDim, tokens } = await received({ ulysses: 2 });
    const all = tokens.reduce((a, b) => a + b, 0);
    const [own, ownHeads] = [share(tokens, 2), Math.ceil(heads / 2)];
    const floats = 3 * (all - own) * ownHeads * headDim + own * (heads - ownHeads) * headDim;
    expect(bytes).toEqual({ allToAll: 4 * blocks * floats });
  });

  it('by Ulysses in 8 bits: keys in 32, of the rest a quarter, and a scale for each row of a head', async () => {
    const { bytes, blocks, heads, headDim, tokens } = await received({ ulysses: 2 }, { float8: true });
    const all = tokens.reduce((a, b) => a + b, 0);
    const [own, ownHeads] = [share(tokens, 2), Math.ceil(heads / 2)];
    const rows = 2 * (all - own) * ownHeads + own * (heads - ownHeads);
    expect(bytes).toEqual({ allToAll: blocks * (rows * (headDim + 4) + 4 * (all - own) * ownHeads * headDim) });
  });

  it('by a ring: the keys and values of the others', async () => {
    const { bytes, blocks, heads, headDim, tokens } = await received({ ring: 2 });
    const all = tokens.reduce((a, b) => a + b, 0);
    expect(bytes).toEqual({ exchange: 4 * blocks * 2 * (all - share(tokens, 2)) * heads * headDim });
  });

  it('by both: as by Ulysses among the tokens of the group, and one’s own heads of the other group’s keys and values', async () => {
    const { bytes, blocks, heads, headDim, tokens } = await received({ ring: 2, ulysses: 2 });
    const all = tokens.reduce((a, b) => a + b, 0);
    const [own, group, ownHeads] = [share(tokens, 4), share(tokens, 4, 2), Math.ceil(heads / 2)];
    expect(bytes).toEqual({
      allToAll: 4 * blocks * (3 * (group - own) * ownHeads * headDim + own * (heads - ownHeads) * headDim),
      exchange: 4 * blocks * 2 * (all - group) * ownHeads * headDim,
    });
  });

  it('by tensor parallelism: two sums of the stream in a block of two layers that are summed, one in a block of one', async () => {
    const { bytes, config, heads, headDim, tokens } = await received({ tensor: 2 });
    const [image, text] = tokens as [number, number];
    const stream = (image + text) * heads * headDim;
    // Twice n·(p − 1)/p bytes for a sum of n; and the sums over time and text embeddings, of one vector each.
    const sums = 4 * (2 * config.num_layers * stream + config.num_single_layers * stream);
    expect(bytes['allReduce']! - sums).toBeGreaterThanOrEqual(0);
    expect(bytes['allReduce']! - sums).toBeLessThanOrEqual(4 * 4 * heads * headDim);
  });

  it('one by one, in as many bytes', async () => {
    const [together, apart] = [await received({ ulysses: 2 }), await received({ ulysses: 2 }, { async: true })];
    expect(apart.bytes).toEqual(together.bytes);
    expect(apart.calls['allToAll']).toBe(2 * together.calls['allToAll']!);
  });

  it('follows a plan of layers', async () => {
    const nothing = await received({ tensor: 2 }, { cutOf: () => 'replicate' });
    expect(nothing.bytes).toEqual({});
    const cutOf = (layer: string) => (/attn\.to_[qkv]$/.test(layer) ? 'colwise' : undefined);
    const { calls, config } = await received({ tensor: 2 }, { cutOf });
    // Whatever takes results of attention sums them: two streams, or the one that was joined.
    expect(calls['allReduce']).toBe(2 * config.num_layers + config.num_single_layers);
  });
});
