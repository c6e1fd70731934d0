/** The autoencoders; a new one is one line here. */
import { autoencoderDc } from './dc/dc.ts';
import type { AutoencoderFamily } from './definition.ts';
import { autoencoderKl, autoencoderKlFlux2 } from './kl/kl.ts';
import { autoencoderTiny } from './tiny/tiny.ts';
import { autoencoderKlQwenImage, autoencoderKlWan } from './wan/wan.ts';

export const autoencoderFamilies: readonly AutoencoderFamily[] = [
  autoencoderKl,
  autoencoderKlFlux2,
  autoencoderTiny,
  autoencoderDc,
  autoencoderKlQwenImage,
  autoencoderKlWan,
];
