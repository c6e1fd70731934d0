import { describe, expect, it } from 'vitest';
import { itReproducesDiffusers, optionsOf, readRecording } from '../testing/recorded.ts';
import { warningsOf } from '../testing/warnings.ts';

describe('StableDiffusion3Pipeline', () => {
  const pipe = itReproducesDiffusers('sd3');

  it('says which options have no effect', async () => {
    const run = readRecording('sd3').runs.find(({ embeds }) => embeds)!;
    const options = { ...(await optionsOf('sd3', run)), numInferenceSteps: 1, outputType: 'latent' as const };
    const warnings = await warningsOf(() =>
      pipe().generate({ ...options, guidanceScale: 1, clipSkip: 1, maxSequenceLength: 8 }),
    );
    expect(warnings).toMatch(/negativePromptEmbeds has no effect at guidanceScale 1; set it above 1/);
    expect(warnings).toMatch(/clipSkip has no effect on embeddings/);
    expect(warnings).toMatch(/maxSequenceLength has no effect on embeddings/);
  });

  it('refuses embeddings of different lengths, which one call cannot take', async () => {
    const run = readRecording('sd3').runs.find(({ embeds }) => embeds)!;
    const { negativePromptEmbeds, negativePooledPromptEmbeds, ...options } = await optionsOf('sd3', run);
    // An empty negative prompt has as many tokens as the encoders give it.
    await expect(pipe().generate(options)).rejects.toThrow(/encoder_hidden_states: guidance calls the model once/);
  });
});

describe('StableDiffusion3Pipeline without T5, with noise levels shifted by size', () => {
  const pipe = itReproducesDiffusers('sd3_without_t5');

  it('warns of what CLIP cannot read, as nothing else reads it', async () => {
    const prompt = 'cats and dogs '.repeat(10);
    const warnings = await warningsOf(() =>
      pipe().generate({ prompt, prompt3: 'x', height: 32, width: 32, numInferenceSteps: 1 }),
    );
    expect(warnings).toMatch(/only 20 tokens of the prompt are read; this part is ignored: '.*cats and dogs/);
    expect(warnings).toMatch(/prompt3 has no effect as this checkpoint has no third text encoder/);
  });
});

describe('StableDiffusion3InpaintPipeline', () => {
  itReproducesDiffusers('sd3_inpaint');
});
