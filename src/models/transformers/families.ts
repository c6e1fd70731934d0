/** The transformer families; a new one is one line here. */
import type { TransformerFamily } from '../definition.ts';
import { ditTransformer } from './dit/dit.ts';
import { fluxTransformer } from './flux/flux.ts';

export const transformerFamilies: readonly TransformerFamily[] = [ditTransformer, fluxTransformer];
