/** The JSON Schema of a pipeline's options takes and refuses what `generate` takes and refuses. */
import path from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DejaDitError } from '../../errors/errors.ts';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';
import type { Pipeline } from '../pipeline.ts';
import { supportedPipelines } from '../registry.ts';
import { type OpenedPipeline, openPipeline, pipelineNames } from '../testing/every-pipeline.ts';
import { warningsOf } from '../testing/warnings.ts';
import { catalogue, neutral, optionNames } from './catalogue.ts';
import type { GenerateOptions } from './options.ts';
import { optionsSchema } from './options-schema.ts';

const ajv = new Ajv2020({ allowUnionTypes: true });

const values: unknown[] = [
  ...[
    null,
    true,
    false,
    0,
    -0,
    -1,
    1,
    2,
    1.5,
    7,
    8,
    16,
    32,
    64,
    100,
    101,
    300,
    512,
    513,
    1000,
    1001,
    16384,
    16400,
    1e9,
    1e300,
    2 ** 60,
  ],
  ...[
    '',
    ' ',
    '5',
    '-5',
    ' 7 ',
    '1.5',
    'odd',
    'image',
    'latent',
    'pil',
    '512MiB',
    '4GiB',
    '0',
    '1XB',
    'tench',
    'x'.repeat(100_001),
  ],
  ...[
    [],
    [0],
    [1],
    [1, 0.5],
    [1, 'x'],
    ['odd'],
    ['5'],
    [[1]],
    [null],
    [true],
    {},
    { odd: 1 },
    { odd: 'x' },
    { odd: null },
  ],
];

/** Refusals for what several options together ask for, or for what a value names and a schema cannot know. */
const ofSeveral =
  /besides the weights|without useResolutionBinning|has no table of trained sizes|cannot take turns|\d (texts|of them|seeds) for \d|^cache: unknown key|^image: x+|leaves no step|^scheduler: (?!expected)/;

/** Whether the request would be run. */
async function isTaken(pipe: Pipeline, options: GenerateOptions): Promise<boolean> {
  const error: unknown = await pipe.generate({ ...options, signal: AbortSignal.abort() }).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(DejaDitError);
  const { code, message } = error as DejaDitError;
  const taken = code === 'ABORTED' || code === 'NOT_FOUND' || ofSeveral.test(message);
  if (!taken) expect(code, message).toMatch(/^INVALID_(ARGUMENT|CONFIG)$/);
  return taken;
}

describe.each(pipelineNames)('%s', (name) => {
  let opened: OpenedPipeline | undefined;
  let pipe: Pipeline;
  beforeAll(async () => {
    opened = await openPipeline(name);
    pipe = opened.pipe;
  });
  afterAll(() => opened?.close());

  it.each([...optionNames.filter((option) => option !== 'signal'), 'odd'])('%s', async (option) => {
    const validate = ajv.compile(optionsSchema(pipe));
    const least: GenerateOptions = {
      ...(pipe.traits.subject === 'prompt' ? { prompt: 'cat' } : { classLabels: 1 }),
      ...(name === 'dit' ? {} : { height: 32, width: 32 }),
    };
    expect(validate(least), ajv.errorsText(validate.errors)).toBe(true);
    // Neutral values are taken by pipelines that do not tell of the option. What JSON cannot hold has no place in the schema; null stands for it as it does for all others.
    const isTold = option in optionsSchema(pipe).properties;
    for (const value of isTold ? values : values.slice(1)) {
      const options = { ...least, [option]: value } as GenerateOptions;
      const seen = `${option}: ${JSON.stringify(value)?.slice(0, 80)}`;
      const expected = validate(options) || (!isTold && (neutral[option]?.(value) ?? false));
      await warningsOf(async () => expect(await isTaken(pipe, options), seen).toBe(expected));
    }
  });

  it('defaults are values that it takes', async () => {
    const { properties } = optionsSchema(pipe);
    const defaults = Object.entries(properties).flatMap(([option, { default: value }]) =>
      value === undefined ? [] : [[option, value]],
    );
    expect(defaults.length).toBeGreaterThan(3);
    const validate = ajv.compile(optionsSchema(pipe));
    const subject = pipe.traits.subject === 'prompt' ? { prompt: 'cat' } : { classLabels: 1 };
    expect(validate({ ...subject, ...Object.fromEntries(defaults) }), ajv.errorsText(validate.errors)).toBe(true);
  });
});

describe('of a class', () => {
  it.each(supportedPipelines())('%s', async (name) => {
    const schema = await optionsSchema(name);
    expect(ajv.validateSchema(schema), ajv.errorsText()).toBe(true);
    expect(schema.title).toBe(name);
    for (const [option, { description }] of Object.entries(schema.properties))
      expect(description).toContain(catalogue[option as keyof typeof catalogue].help);
  });

  it('tells what a model will determine', async () => {
    const { height } = (await optionsSchema('FluxPipeline')).properties;
    expect(height).toMatchObject({ minimum: 1, maximum: 16384 });
    expect(height).not.toHaveProperty('default');
    expect(height!['description']).toMatch(/default: the autoencoder's sample_size/);
  });

  it('is refused by name', async () => {
    await expect(optionsSchema('FluxPipline')).rejects.toThrow(
      /no pipeline 'FluxPipline'; did you mean FluxPipeline\? known: /,
    );
  });
});

describe('names as Diffusers has them', () => {
  let pipe: Pipeline;
  beforeAll(async () => {
    pipe = await DiffusionPipeline.fromPretrained(path.resolve(import.meta.dirname, '../../../models/emoji-flux'));
  });
  afterAll(() => pipe.dispose());
  const generate = (options: object) => pipe.generate(options as GenerateOptions);

  it('are the same options', async () => {
    const ours = { prompt: 'red apple', numInferenceSteps: 1, numImages: 2, seed: 5, outputType: 'latent' };
    const theirs = {
      prompt: 'red apple',
      num_inference_steps: 1,
      num_images_per_prompt: 2,
      seed: 5,
      output_type: 'latent',
      negative_prompt: null,
    };
    expect((await generate(theirs)).latents.data).toEqual((await generate(ours)).latents.data);
  });

  it.each([
    [{ num_inference_steps: 0 }, 'numInferenceSteps: expected an integer from 1 to 10000, got 0'],
    [{ numImages: 1, num_images_per_prompt: 2 }, 'numImages: is given twice'],
    [{ generator: 5 }, 'generator: expected a Generator, or a list with one for each picture, got 5'],
    [
      { num_inferense_steps: 5 },
      'num_inferense_steps: unknown option of FluxPipeline; did you mean numInferenceSteps? known: prompt, ',
    ],
  ])('%o', async (options, message) => {
    await expect(generate({ prompt: 'x', ...options })).rejects.toThrow(message);
  });

  it.each([[3], [null], [['x']]])('%o is no object of options', async (options) => {
    await expect(generate(options as object)).rejects.toThrow(/^FluxPipeline: must be an object of options, got/);
  });
});
