/** The text encoders; a new one is one line here. */
import type { GraphModelFamily } from '../graph-model.ts';
import { clipTextModel, clipTextModelWithProjection } from './clip.ts';
import { decoderModels } from './decoder.ts';
import { decoderFamilies } from './decoder-families.ts';
import { t5EncoderModel, umt5EncoderModel } from './t5.ts';

export const textEncoderFamilies: readonly GraphModelFamily[] = [
  clipTextModel,
  clipTextModelWithProjection,
  t5EncoderModel,
  umt5EncoderModel,
  ...decoderFamilies.flatMap(decoderModels),
];
