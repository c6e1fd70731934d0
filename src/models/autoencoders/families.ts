/** The autoencoders; a new one is one line here. */
import type { GraphModelFamily } from '../graph-model.ts';

export const autoencoderFamilies: readonly GraphModelFamily[] = [];
