/**
 * What FLUX.1 and the models made after it have in common beside their blocks: sizes as configs name them, packed latents, and positions
 * that the caller gives. Lists of blocks are in `flux-lists.ts`.
 */
import { rotaryTables, sharedPositions } from '../../../nn/rotary.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { ConfigReader } from '../../config-reader.ts';
import type { TransformerTraits } from '../../definition.ts';
import type { TensorInput } from '../../inputs.ts';

export interface FluxSizes {
  inChannels: number;
  /** Blocks of several streams, and of the joined one. */
  doubleBlocks: number;
  singleBlocks: number;
  heads: number;
  width: number;
  textWidth: number;
  axesDim: readonly number[];
}

/** @param defaults where they are not FLUX.1's */
export function fluxSizes(config: ConfigReader, defaults: Partial<Omit<FluxSizes, 'width'>> = {}): FluxSizes {
  const heads = config.count('num_attention_heads', defaults.heads ?? 24);
  return {
    inChannels: config.integer('in_channels', defaults.inChannels ?? 64),
    doubleBlocks: config.layers('num_layers', defaults.doubleBlocks ?? 19),
    singleBlocks: config.layers('num_single_layers', defaults.singleBlocks ?? 38),
    heads,
    width: heads * config.count('attention_head_dim', 128),
    textWidth: config.integer('joint_attention_dim', defaults.textWidth ?? 4096),
    axesDim: config.counts('axes_dims_rope', defaults.axesDim ?? [16, 56, 56]),
  };
}

/** Traits of a model whose latents arrive packed: a patch is a token already. */
export function packedTraits({
  width,
  inChannels,
  outChannels,
  textWidth,
}: Pick<FluxSizes, 'width' | 'inChannels' | 'textWidth'> & { outChannels: number }) {
  return { width, inChannels, outChannels, patch: [1, 1, 1], textWidth } as const satisfies TransformerTraits;
}

/** Tokens of image and text, the time, and the positions of both, which all samples share. */
export function fluxInputs({
  inChannels,
  textWidth,
  axesDim: { length: axes },
}: Pick<FluxSizes, 'inChannels' | 'textWidth' | 'axesDim'>): readonly TensorInput[] {
  return [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'image_tokens', inChannels] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'img_ids', kind: 'float', shape: ['image_tokens', axes], orShape: ['batch', 'image_tokens', axes] },
    { name: 'txt_ids', kind: 'float', shape: ['text_tokens', axes], orShape: ['batch', 'text_tokens', axes] },
  ];
}

type FluxIds = Readonly<Record<'img_ids' | 'txt_ids', Tensor | undefined>>;

/** Positions of text, then image. */
export function fluxPositions({ img_ids, txt_ids }: FluxIds): number[][] {
  return [...sharedPositions(txt_ids!), ...sharedPositions(img_ids!)];
}

/** @param options `theta`: default FLUX.1's */
export function fluxRotary(ids: FluxIds, options: { axesDim: readonly number[]; theta?: number }) {
  return rotaryTables(fluxPositions(ids), { theta: 10000, ...options });
}
