/** The transformer families; a new one is one line here. */
import type { TransformerFamily } from '../definition.ts';
import { fluxTransformer } from './flux/flux.ts';

export const transformerFamilies: readonly TransformerFamily[] = [fluxTransformer];
