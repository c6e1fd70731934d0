/** What of a ControlNet runs along tokens, for whoever deals them out: the streams that its blocks work on. */
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import type { Module } from '../../nn/module.ts';

/** And on which axis, by the names that `nameTokens` gives. */
export const tokensOfBlocks = { hidden_states: 1, encoder_hidden_states: 1 } as const;

type Streams = { readonly [Name in keyof typeof tokensOfBlocks]?: SymbolicTensor | undefined };

/** To be called with what goes into the first block. */
export function nameTokens(m: Module, { hidden_states: image, encoder_hidden_states: text }: Streams): void {
  if (image) m.graph.nameValue(image, 'hidden_states');
  if (text) m.graph.nameValue(text, 'encoder_hidden_states');
}
