/** The text encoders by class name; a new one is one line here. Each file is loaded when its family is asked for. */
import type { GraphModelFamily } from '../graph-model.ts';
import { decoderFamilies } from './decoder-families.ts';

const decoders = decoderFamilies.flatMap((family) =>
  family.classNames.map((className) => {
    const load = async () => (await import('./decoder.ts')).decoderModel(className, family);
    return [className, load] as const;
  }),
);

export const textEncoderFamilies: Readonly<Record<string, () => Promise<GraphModelFamily>>> = {
  CLIPTextModel: async () => (await import('./clip.ts')).clipTextModel,
  CLIPTextModelWithProjection: async () => (await import('./clip.ts')).clipTextModelWithProjection,
  CLIPVisionModel: async () => (await import('./clip-vision.ts')).clipVisionModel,
  CLIPVisionModelWithProjection: async () => (await import('./clip-vision.ts')).clipVisionModelWithProjection,
  T5EncoderModel: async () => (await import('./t5.ts')).t5EncoderModel,
  UMT5EncoderModel: async () => (await import('./t5.ts')).umt5EncoderModel,
  ...Object.fromEntries(decoders),
};
