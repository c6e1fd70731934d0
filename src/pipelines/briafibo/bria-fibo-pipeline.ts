/** Bria FIBO: structured captions to image, every block told another layer of what read them. Diffusers' `BriaFiboPipeline`. */
import { cut, join } from '../../tensor/slices.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { imageIds, textIds } from '../flux/positions.ts';
import { guidanceBranches } from '../request/conditions.ts';
import type { GuidanceBranch } from '../request/denoise.ts';
import { perSample } from '../request/latents.ts';
import { tokenLatents } from '../request/packing.ts';
import { flowSigmas, resolutionShift } from '../request/schedule.ts';
import { type EncodeTextOptions, equalLengths, padTexts, type TextEncoder } from '../request/text-encoder.ts';
import { aLatent } from '../schema/sizes.ts';

export const briaFiboPipeline = definePipeline({
  classNames: ['BriaFiboPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('BriaFiboTransformer2DModel'),
  },

  options: {
    conditions: { texts: ['prompt'], embeds: [] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 30 },
      height: { default: 1024, multipleOf: aLatent },
      width: { default: 1024, multipleOf: aLatent },
      timesteps: {},
      guidanceScale: { default: 5 },
      maxSequenceLength: { default: 3000, max: 3000 },
    },
  },

  plan({ parts: { textEncoder, transformer, vae, scheduler }, settings, reading }) {
    const { batch, conditions, numImages, maxSequenceLength, timesteps } = settings;
    const { inChannels, textLayers } = transformer.traits;
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const tokens = rows * columns;
    return {
      tokens: tokens + maxSequenceLength,
      encode: async () => {
        const options = { maxLength: maxSequenceLength, ...reading };
        const branches = await guidanceBranches(conditions, numImages, async ({ texts: [texts] }) =>
          readCaptions(textEncoder, texts!, { ...options, blocks: textLayers! }),
        );
        return withMask(equalLengths(branches), tokens);
      },
      latents: tokenLatents([batch, inChannels, rows, columns]),
      schedule: {
        ...(timesteps ? { timesteps } : { sigmas: flowSigmas(settings.numInferenceSteps) }),
        mu: resolutionShift(scheduler, tokens),
      },
      jointCalls: true,
      inputsAt: (latents, timestep, { encoder_hidden_states }) => ({
        hidden_states: latents,
        timestep: perSample(latents, timestep),
        txt_ids: textIds((encoder_hidden_states as Tensor).dim(1)),
        img_ids: imageIds(rows, columns),
      }),
    };
  },
});

/** In front of every text of SmolLM3, and all that stands for an empty one. */
const beginOfText = 128000;

/** Texts side by side with zeros behind those that are shorter, and 1 for their tokens in the mask. */
async function readCaptions(
  encoder: TextEncoder,
  texts: readonly string[],
  { blocks, ...options }: EncodeTextOptions & { blocks: number },
): Promise<{ encoder_hidden_states: Tensor; text_encoder_layers: Tensor; mask: Tensor }> {
  const { config } = encoder.model;
  const states = Number(config['num_hidden_layers'] ?? 36) + 1;
  // The last of them, the last again for blocks beyond.
  const ofBlocks = Array.from({ length: blocks }, (_, block) =>
    Math.min(Math.max(0, states - blocks) + block, states - 1),
  );
  const asked = [...new Set([...ofBlocks, states - 2, states - 1])];
  const begin = Number(config['bos_token_id'] ?? beginOfText);
  const each = await encoder.encodeEach(texts, { ...options, hiddenState: asked, emptyText: begin });
  const { embeds, mask } = padTexts(each);
  const width = embeds.dim(2) / asked.length;
  const state = (index: number) => {
    const from = asked.indexOf(index) * width;
    return cut(embeds, { axis: 2, from, to: from + width });
  };
  return {
    encoder_hidden_states: join([state(states - 1), state(states - 2)], 2),
    text_encoder_layers: join(ofBlocks.map(state), 2).reshape([...embeds.shape.slice(0, 2), blocks, width]),
    mask,
  };
}

/** Branches whose mask is what the model's attention takes, over text and picture; none where nothing is padded. */
function withMask(branches: readonly GuidanceBranch[], imageTokens: number): GuidanceBranch[] {
  const masks = branches.map(({ inputs }) => inputs['mask'] as Tensor);
  const isPadded = masks.some(({ f32 }) => f32.includes(0));
  return branches.map(({ name, inputs: { mask: _, ...inputs } }, i) => {
    const texts = masks[i]!.dim(0);
    const picture = floatTensor(new Float32Array(texts * imageTokens).fill(1), [texts, imageTokens]);
    const attention_mask = join([masks[i]!, picture], 1).reshape([texts, 1, 1, -1]);
    return { name, inputs: { ...inputs, ...(isPadded ? { joint_attention_kwargs: { attention_mask } } : {}) } };
  });
}
