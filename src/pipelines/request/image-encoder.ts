/** An image encoder with its processor: pictures to embeddings, cut and normalised as CLIP was trained with. */
import type { Image } from '../../images/image.ts';
import { ConfigReader } from '../../models/config-reader.ts';
import type { GraphModel } from '../../models/graph-model.ts';
import { join } from '../../tensor/slices.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';

/** Transformers' `CLIPImageProcessor`. */
export interface ClipProcessor {
  /** Of the resized picture's shorter edge. */
  shortestEdge: number;
  /** What is cut out of its middle. */
  crop: { height: number; width: number };
  mean: readonly number[];
  std: readonly number[];
}

/** Reads a `preprocessor_config.json`. */
export function readClipProcessor(config: ConfigReader): ClipProcessor {
  config.requires('do_resize', true);
  config.requires('do_center_crop', true);
  config.requires('do_normalize', true);
  config.requires('resample', 3);
  config.rejectUnsupported();
  const nested = (name: string) =>
    new ConfigReader((config.json[name] ?? {}) as Record<string, unknown>, config.origin);
  const size = nested('size');
  const crop = nested('crop_size');
  return {
    shortestEdge: size.integer('shortest_edge', 224),
    crop: { height: crop.integer('height', 224), width: crop.integer('width', 224) },
    mean: config.numbers('image_mean', [0.48145466, 0.4578275, 0.40821073]),
    std: config.positives('image_std', [0.26862954, 0.26130258, 0.27577711]),
  };
}

export class ImageEncoder {
  constructor(
    readonly model: GraphModel,
    private readonly processor: ClipProcessor,
  ) {}

  /** A hidden state of each picture's patches, [pictures, tokens, width]. */
  async encode(
    images: readonly Image[],
    { hiddenState, signal }: { hiddenState: number; signal?: AbortSignal | undefined },
  ): Promise<Tensor> {
    const pixels = await Promise.all(images.map((image) => this.pixels(image)));
    const inputs = { pixel_values: join(pixels, 0), output_hidden_states: [hiddenState] };
    return (await this.model.call('forward', inputs, signal))[`hidden_states.${hiddenState}`]!;
  }

  dispose(): Promise<void> {
    return this.model.dispose();
  }

  /** [1, 3, height, width]. */
  private async pixels(image: Image): Promise<Tensor> {
    const { shortestEdge, crop, mean, std } = this.processor;
    const scale = shortestEdge / Math.min(image.width, image.height);
    const [width, height] = [image.width, image.height].map((edge) => Math.trunc(edge * scale)) as [number, number];
    const sized = await image.resize(width, height, { kernel: 'cubic' });
    const [top, left] = [Math.round((height - crop.height) / 2), Math.round((width - crop.width) / 2)];
    const plane = crop.height * crop.width;
    const values = new Float32Array(3 * plane);
    for (let c = 0; c < 3; c++)
      for (let y = 0; y < crop.height; y++)
        for (let x = 0; x < crop.width; x++) {
          const level = sized.data[((top + y) * width + left + x) * sized.channels + c] ?? 0;
          values[c * plane + y * crop.width + x] = (level / 255 - mean[c]!) / std[c]!;
        }
    return floatTensor(values, [1, 3, crop.height, crop.width]);
  }
}
