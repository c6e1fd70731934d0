/** Options that many pipelines have in the same way. */
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Guider } from '../request/guider.ts';
import type { TextEncoder } from '../request/text-encoder.ts';
import type { GenerateOptions } from './options.ts';
import { type FromModel, fromModel, type IdleRule, type OptionUse } from './pipeline-options.ts';

export interface HasTransformer {
  readonly transformer: TransformerModel;
}

export interface HasAutoencoder {
  readonly vae: Autoencoder;
}

/**
 * Height and width of pictures whose tokens cover two latents along both edges.
 * @param latents that the default edge has
 */
export function edges(latents: number) {
  const edge = {
    default: fromModel(`${latents} latents`, ({ vae }: HasAutoencoder) => latents * vae.spatialScale),
    multipleOf: twoLatents,
  };
  return { height: edge, width: edge };
}

export const twoLatents = fromModel(
  'two latents, which a token covers',
  ({ vae }: HasAutoencoder) => 2 * vae.spatialScale,
);

export const aToken = fromModel(
  'the pixels of a token',
  ({ vae, transformer }: HasAutoencoder & HasTransformer) =>
    vae.spatialScale * Math.max(...transformer.traits.patch.slice(1)),
);

export const aLatent = fromModel('the pixels of a latent', ({ vae }: HasAutoencoder) => vae.spatialScale);

/** An edge of pictures as the transformer was trained at. */
export const trainedEdge = {
  default: fromModel(
    "the transformer's sample_size",
    ({ vae, transformer }: HasAutoencoder & HasTransformer) => transformer.traits.sampleSize! * vae.spatialScale,
  ),
};

/** Tokens of the prompt as a model was trained with, as far as its tokenizer goes. */
export function textLength<Name extends string>(
  tokens: number,
  encoder: Name,
): OptionUse<{ readonly [N in Name]: TextEncoder | undefined }, number> & {
  default: FromModel<{ readonly [N in Name]: TextEncoder | undefined }, number>;
} {
  return {
    max: Math.max(512, tokens),
    default: fromModel(`${tokens}, or model_max_length of the tokenizer`, (model) =>
      Math.min(tokens, model[encoder]?.tokenizer.modelMaxLength ?? tokens),
    ),
  };
}

/** Of options that say how a prompt is read. */
export const onEmbeddings = {
  because: 'on embeddings',
  when: ({ promptEmbeds }: GenerateOptions) => promptEmbeds !== undefined,
};

/** Of options that say how the prompt and the negative one are read, where that may be a text when the prompt is none. */
export const whereNoTextIsRead = {
  because: 'on embeddings',
  when: ({ promptEmbeds, negativePrompt }: GenerateOptions) =>
    promptEmbeds !== undefined && negativePrompt === undefined,
};

/** Of pipelines whose encoders ComfyUI reads weights for. */
export const promptWeighting = { idle: onEmbeddings };

/** Layers that CLIP leaves out. */
export const clipSkip = { default: 0, idle: onEmbeddings };

/** Of options that say how classifier-free guidance is computed. */
export const withoutGuidance = {
  because: 'without guidance; set guidanceScale above 1',
  when: ({ guidanceScale }: GenerateOptions) => guidanceScale! <= 1,
};

/** `guidanceScale` as the guider of a modular pipeline has it. @param scale that it has where the repository says none */
export const guidersScale = (scale: number) => ({
  default: fromModel(`the guider's, or ${scale}`, ({ guider }: { readonly guider: Guider }) => guider.scale),
});

/** Of `guidanceScale` in pipelines whose classifier-free guidance has another name. */
export const noGuidanceEmbedding = {
  because: 'as this model has no guidance embedding; use trueCfgScale and negativePrompt',
  when: ({ transformer }: HasTransformer) => !transformer.traits.guidanceEmbedding,
};

/** How a pipeline has a starting image. */
export interface PictureOptions {
  readonly image: { required?: boolean };
  readonly maskImage?: { required: boolean };
  readonly strength: { default: number; idle?: IdleRule<GenerateOptions> };
  readonly latents: { idle: IdleRule<GenerateOptions> };
}

/** The options of inpainting. @param strength unless it says */
export const inpainting = (strength: number) => ({
  image: { required: true },
  maskImage: { required: true },
  strength: { default: strength },
  latents: { idle: { because: 'with an image, which the start is made of', when: () => true } },
});

/** The options of a starting image that a request may do without. @param strength unless it says */
export const startImage = (strength: number) => ({
  image: {},
  strength: {
    default: strength,
    idle: { because: 'without an image', when: ({ image }: GenerateOptions) => image === undefined },
  },
  latents: {
    idle: {
      because: 'with an image, whose noised latents are the start',
      when: ({ image }: GenerateOptions) => image !== undefined,
    },
  },
});
