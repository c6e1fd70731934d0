/**
 * What the name of a tensor in a LoRA's file says: which component and module it is for, and which part of what is added to that. The
 * names that programs give differ in where they begin and end; which modules a model has is asked in `fit-lora.ts`.
 */

/** The tensors that describe what is added to one layer. */
export type LoraPart =
  | 'down'
  | 'up'
  | 'upBias'
  | 'alpha'
  /** DoRA (arXiv 2402.09353): the lengths that the rows of the weight are brought to. */
  | 'magnitude'
  /** LoKr (arXiv 2309.14859): factors of a Kronecker product, each whole or as a product. */
  | 'left'
  | 'leftUp'
  | 'leftDown'
  | 'right'
  | 'rightUp'
  | 'rightDown'
  /** LoHa (arXiv 2108.06098): two products that are multiplied element by element. */
  | 'hadamardUp1'
  | 'hadamardDown1'
  | 'hadamardUp2'
  | 'hadamardDown2'
  /** What is added, as it is. */
  | 'difference'
  | 'biasDifference';

export interface LoraName {
  /** `transformer`, `text_encoder_2`; undefined: the file does not say. */
  readonly component: string | undefined;
  /** Path of the module, or, if `flat`, the path with underscores for dots. */
  readonly module: string;
  readonly flat: boolean;
  readonly part: LoraPart;
}

/** `.default` and the like are names of adapters. */
const adapter = '(?:\\.\\w+)?';

const parts: readonly (readonly [ending: RegExp, part: LoraPart])[] = [
  [new RegExp(`\\.(?:lora_A|lora_down|lora\\.down|lora_linear_layer\\.down)${adapter}\\.weight$`), 'down'],
  [new RegExp(`\\.(?:lora_B|lora_up|lora\\.up|lora_linear_layer\\.up)${adapter}\\.weight$`), 'up'],
  [/(?<=_lora\d?)\.down\.weight$/, 'down'],
  [/(?<=_lora\d?)\.up\.weight$/, 'up'],
  [new RegExp(`\\.lora_B${adapter}\\.bias$`), 'upBias'],
  [/\.alpha$/, 'alpha'],
  [new RegExp(`\\.lora_magnitude_vector${adapter}(?:\\.weight)?$`), 'magnitude'],
  [/\.dora_scale$/, 'magnitude'],
  [/\.lokr_w1$/, 'left'],
  [/\.lokr_w1_a$/, 'leftUp'],
  [/\.lokr_w1_b$/, 'leftDown'],
  [/\.lokr_w2$/, 'right'],
  [/\.lokr_w2_a$/, 'rightUp'],
  [/\.lokr_w2_b$/, 'rightDown'],
  [/\.hada_w1_a$/, 'hadamardUp1'],
  [/\.hada_w1_b$/, 'hadamardDown1'],
  [/\.hada_w2_a$/, 'hadamardUp2'],
  [/\.hada_w2_b$/, 'hadamardDown2'],
  [/\.diff$/, 'difference'],
  [/\.diff_b$/, 'biasDifference'],
];

/** What other kinds of adapters leave in their files. */
const foreign: readonly (readonly [RegExp, string])[] = [
  [/\.(hada_t[12]|lokr_t2|lora_mid\.weight)$/, 'of a convolution in Tucker form'],
  [/\.(oft_\w+|boft_\w+)(\.|$)/, 'of an orthogonal adapter (OFT)'],
  [/\.(ia3_l|on_input)(\.|$)/, 'of an adapter of the kind IA³'],
  [/\.(a1|a2|b1|b2)\.weight$/, 'of an adapter of the kind GLoRA'],
  [/\.(w_norm|b_norm|set_weight)$/, 'of a layer that is replaced'],
  [/\.lora_embedding_[AB]/, "of a LoRA on a lookup table's rows"],
];

const textEncoders: Readonly<Record<string, string>> = {
  '': 'text_encoder',
  1: 'text_encoder',
  2: 'text_encoder_2',
  3: 'text_encoder_3',
};

/** @returns undefined for a name of no known kind */
export function parseLoraName(name: string): LoraName | undefined {
  const [ending, part] = parts.find(([pattern]) => pattern.test(name)) ?? [];
  return ending && part && { ...parseModule(name.replace(ending, '')), part };
}

function parseModule(path: string): Omit<LoraName, 'part'> {
  const unwrapped = path.replace(/^base_model\.model\./, '');
  // Kohya's scripts, musubi-tuner and OneTrainer; LyCORIS by itself; SimpleTuner with an underscore too many at the end.
  const [, flat] = /^(?:lora_unet|lora_transformer|lycoris)_(.+?)_?$/.exec(unwrapped) ?? [];
  if (flat !== undefined) return { component: undefined, module: flat, flat: true };
  const [, number, text] = /^lora_te(\d?)_(.+)$/.exec(unwrapped) ?? [];
  if (text !== undefined)
    return { component: textEncoders[number!] ?? `text_encoder_${number}`, module: text, flat: true };
  const [, component, module] = /^((?:text_encoder|transformer)(?:_\d+)?|unet)\.(.+)$/.exec(unwrapped) ?? [];
  if (module !== undefined) return { component, module, flat: false };
  return { component: undefined, module: unwrapped.replace(/^(model\.)?diffusion_model\./, ''), flat: false };
}

/** Why a tensor of no known kind cannot be used. */
export function describeForeignPart(name: string): string {
  const [, what] = foreign.find(([pattern]) => pattern.test(name)) ?? [];
  return what === undefined
    ? 'is no part of a LoRA, DoRA, LoKr or LoHa'
    : `is ${what}, which is not run; LoRA, DoRA, LoKr and LoHa are`;
}
