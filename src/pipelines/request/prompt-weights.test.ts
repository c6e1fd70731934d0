/** Weights in prompts: how texts are read, and what becomes of embeddings, computed in a second way. */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { relativeError } from '../../models/testing/golden.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { loadTokenizer } from '../../tokenizers/tokenizer.ts';
import { bundledModel } from '../../weights/bundled-model.ts';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';
import type { Pipeline } from '../pipeline.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { assembleCheckpoint, readRecording } from '../testing/recorded.ts';
import { weightedTexts } from './prompt-weights.ts';
import { idTensor } from './tensors.ts';

const read = (prompt: string) => weightedTexts(prompt).map(({ text, weight }) => [text, Number(weight.toFixed(4))]);

describe('a prompt is read', () => {
  it.each([
    ['red apple', [['red apple', 1]]],
    [
      'a (red) apple',
      [
        ['a ', 1],
        ['red', 1.1],
        [' apple', 1],
      ],
    ],
    ['((red))', [['red', 1.21]]],
    ['(red:1.3)', [['red', 1.3]]],
    // A number holds whatever is around it, and outside of it too.
    [
      '(a (red:1.5) b)',
      [
        ['a ', 1.1],
        ['red', 1.5],
        [' b', 1.1],
      ],
    ],
    [
      '((a) b:0.5)',
      [
        ['a', 0.55],
        [' b', 0.5],
      ],
    ],
    ['(a:b)', [['a:b', 1.1]]],
    ['(:1.2)', [[':1.2', 1.1]]],
    ['(a:-1)', [['a', -1]]],
    ['(a:1e1)', [['a', 10]]],
    ['(a:nan)', [['a:nan', 1.1]]],
    [
      'a \\(red\\) (b\\))',
      [
        ['a (red) ', 1],
        ['b)', 1.1],
      ],
    ],
    ['(open', [['(open', 1]]],
    ['a) (b)', [['a) (b)', 1]]],
    ['()', []],
    ['', []],
  ])('%s', (prompt, parts) => expect(read(prompt)).toEqual(parts));
});

/** What one encoder makes of a text, padded to a length. */
async function encode(folder: string, { component, text, pipe }: Encoding) {
  const tokenizer = await loadTokenizer(path.join(folder, component.replace('text_encoder', 'tokenizer')));
  const { inputIds } = tokenizer.tokenize(text, { padding: 'max_length' });
  const outputs = await pipe.models[component]!.call('forward', { input_ids: idTensor(inputIds) });
  return { hidden: outputs['last_hidden_state']!, pooled: outputs['pooler_output'], tokenizer };
}

interface Encoding {
  component: string;
  text: string;
  pipe: Pipeline;
}

/** Of 'a red fox' the tokens of 'red' 1.5 times as far from an empty text as they are. */
async function byHand(folder: string, encoding: Omit<Encoding, 'text'>): Promise<Tensor> {
  const { hidden, tokenizer } = await encode(folder, { ...encoding, text: 'a red fox' });
  const { hidden: empty } = await encode(folder, { ...encoding, text: '' });
  const count = (text: string) => tokenizer.encode(text).length;
  // The last of them ends a text.
  const [from, to] = [count('a') - 1, count('a red') - 1];
  const width = hidden.dim(2);
  const values = hidden.f32.map((value, i) => {
    const token = Math.floor(i / width);
    return token >= from && token < to ? empty.f32[i]! + 1.5 * (value - empty.f32[i]!) : value;
  });
  return floatTensor(values, hidden.shape);
}

describe.each([
  ['stable_diffusion', ['text_encoder']],
  ['flux', ['text_encoder', 'text_encoder_2']],
] as const)('%s', (name, components) => {
  const isFlux = name === 'flux';
  const folder = isFlux ? bundledModel() : assembleCheckpoint(readRecording(name).checkpoint);
  let pipe: Pipeline;
  beforeAll(async () => {
    pipe = await DiffusionPipeline.fromPretrained(folder);
  });
  afterAll(async () => {
    await pipe.dispose();
    if (!isFlux) rmSync(folder, { recursive: true });
  });
  const draw = async (options: GenerateOptions) => {
    const size = { height: 32, width: 32, numInferenceSteps: 1, seed: 1, outputType: 'latent' } as const;
    const unguided = isFlux ? {} : { guidanceScale: 1 };
    return (await pipe.generate({ ...size, ...unguided, ...options })).latents;
  };

  it('draws from embeddings that were weighted by hand', async () => {
    const component = components.at(-1)!;
    const promptEmbeds = await byHand(folder, { component, pipe });
    const clip = await encode(folder, { component: 'text_encoder', text: 'a red fox', pipe });
    const pooled = isFlux ? { pooledPromptEmbeds: clip.pooled! } : {};
    const expected = await draw({ promptEmbeds, ...pooled });
    const weighted = await draw({ prompt: 'a (red:1.5) fox', promptWeighting: 'comfyui' });
    // (Small models hardly look at their texts.)
    const unweighted = relativeError(await draw({ prompt: 'a red fox' }), expected);
    expect(unweighted).toBeGreaterThan(1e-5);
    expect(relativeError(weighted, expected)).toBeLessThan(Math.min(1e-5, unweighted / 20));
  });

  it('reads a prompt without weights as it does anyway, and parentheses as text unless told', async () => {
    const plain = await draw({ prompt: 'a red fox' });
    expect((await draw({ prompt: 'a red fox', promptWeighting: 'comfyui' })).data).toEqual(plain.data);
    expect((await draw({ prompt: 'a (red:1.0) fox', promptWeighting: 'comfyui' })).data).toEqual(plain.data);
    expect((await draw({ prompt: 'a (red:1.0) fox' })).data).not.toEqual(plain.data);
  });
});
