/** The autoencoders; a new one is one line here. */
import type { AutoencoderFamily } from './definition.ts';
import { autoencoderKl } from './kl/kl.ts';

export const autoencoderFamilies: readonly AutoencoderFamily[] = [autoencoderKl];
