/** Qwen-Image 2.1: text to image with transparency, the text read by a vision-language model. Diffusers' `QwenImage21Pipeline` without pictures. */
import type { ConfigReader } from '../../models/config-reader.ts';
import { cut } from '../../tensor/slices.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, transformer, visionEncoder } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { embedQwen, qwenConditions, qwenGuidance } from '../qwenimage/calls.ts';
import { guidedBy } from '../request/guidance.ts';
import { perSample } from '../request/latents.ts';
import { tokenLatents } from '../request/packing.ts';
import { flowSigmas, resolutionShift } from '../request/schedule.ts';
import type { TextEncoder } from '../request/text-encoder.ts';
import { twoLatents } from '../schema/sizes.ts';

/** What the language model is told; it reads it, but does not pass it on. */
const instruction = 'Comprehend and analyze the provided prompt.';
const conversation = (prompt: string) =>
  `<|im_start|>system\n${instruction}<|im_end|>\n<|im_start|>user\n${prompt}<|im_end|>\n<|im_start|>assistant\n`;

/** Tokens of a picture that stand for one slot of the prompt. */
const tokensPerSlot = 4;

const readConfig = (config: ConfigReader) => ({
  sigmas: config.nullable('sample_sigmas', (name) => config.positives(name)),
});

export const qwenImage21Pipeline = definePipeline({
  classNames: ['QwenImage21Pipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: visionEncoder(),
    vae: autoencoder(),
    transformer: transformer('QwenImage21Transformer2DModel'),
  },
  config: readConfig,

  options: {
    conditions: qwenConditions,
    guidance: qwenGuidance,
    options: {
      numInferenceSteps: { default: 40 },
      outputResolution: { default: 1024, multipleOf: twoLatents },
      height: { multipleOf: twoLatents },
      width: { multipleOf: twoLatents },
      sigmas: {},
      trueCfgScale: { default: 1 },
    },
  },

  plan({ parts: { textEncoder, transformer, vae, scheduler }, config, settings, reading }) {
    const { batch, trueCfgScale, outputResolution, numInferenceSteps: steps } = settings;
    const { height = outputResolution, width = outputResolution } = settings;
    const [rows, columns] = [height / vae.spatialScale, width / vae.spatialScale];
    const tokens = rows * columns;
    const guided = guidedBy(trueCfgScale);
    return {
      tokens,
      size: { height, width },
      embed: (condition) =>
        embedQwen(condition, async (texts) => {
          const options = {
            maxLength: Number.POSITIVE_INFINITY,
            templateTokens: await instructionTokens(textEncoder),
            // As the model was trained: before the final norm.
            hiddenState: -1,
            finalNorm: false,
            ...reading,
          };
          // An empty text gives the language model nothing to read.
          return textEncoder.encodeEach(
            texts.map((text) => conversation(text || ' ')),
            options,
          );
        }),
      latents: tokenLatents([batch, transformer.traits.inChannels, rows, columns]),
      schedule: {
        sigmas: settings.sigmas ?? config.sigmas ?? flowSigmas(steps),
        mu: resolutionShift(scheduler, tokens),
      },
      inputsAt: (latents, timestep, { encoder_hidden_states }) => ({
        hidden_states: latents,
        timestep: perSample(latents, Math.fround(timestep) / 1000),
        img_shapes: [[1, rows, columns]],
        img_mask: slots((encoder_hidden_states as Tensor).dim(1), tokens / tokensPerSlot),
      }),
      // What the model says of the text is left out.
      combine: (outputs) => guided(outputs.map((output) => ofPicture(output, tokens))),
    };
  },
});

/** Tokens of the instruction, as the processor's own template has it. */
async function instructionTokens({ tokenizer }: TextEncoder): Promise<number> {
  const content = [{ type: 'text', text: instruction }];
  const told = await tokenizer.applyChatTemplate([{ role: 'system', content }]);
  return tokenizer.tokenize([told], { addSpecialTokens: false }).inputIds[0]!.length;
}

/** Which slots of the prompt are the picture's: those behind the text. */
function slots(text: number, picture: number): Tensor {
  return floatTensor([...Array<number>(text).fill(0), ...Array<number>(picture).fill(1)], [1, text + picture]);
}

const ofPicture = (output: Tensor, tokens: number) =>
  cut(output, { axis: 1, from: output.dim(1) - tokens, to: output.dim(1) });
