/** The text encoders; a new one is one line here. */
import type { GraphModelFamily } from '../graph-model.ts';

export const textEncoderFamilies: readonly GraphModelFamily[] = [];
