/** The two lists of blocks of models that are made of FLUX.1's (`nn/flux-blocks.ts`). */
import { type FluxBlockOptions, type FluxState, fluxDoubleBlock, fluxSingleBlock } from '../../../nn/flux-blocks.ts';
import type { BlockList, ForwardPattern } from '../../definition.ts';

export interface FluxListOptions extends FluxBlockOptions {
  doubleBlocks: number;
  singleBlocks: number;
  /** As cache-dit numbers what both kinds of block take and return. */
  pattern: ForwardPattern;
}

/** Blocks of two streams, then blocks of the joined one. */
export function fluxBlockLists(options: FluxListOptions): readonly BlockList<FluxState>[] {
  const { pattern, doubleBlocks, singleBlocks } = options;
  return [
    {
      name: 'transformer_blocks',
      pattern,
      count: doubleBlocks,
      block: (m, state) => fluxDoubleBlock(m, state, options),
    },
    {
      name: 'single_transformer_blocks',
      pattern,
      count: singleBlocks,
      block: (m, state) => fluxSingleBlock(m, state, options),
    },
  ];
}
