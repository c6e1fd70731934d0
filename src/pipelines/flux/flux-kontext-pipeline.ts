/** FLUX.1 Kontext: an image edited as a text says, its tokens beside those that are drawn. Diffusers' `FluxKontextPipeline`. */
import type { Image } from '../../images/image.ts';
import { join } from '../../tensor/slices.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { definePipeline } from '../define-pipeline.ts';
import { initialLatents } from '../request/latents.ts';
import { packedLatents, packLatents } from '../request/packing.ts';
import { flowSchedule } from '../request/schedule.ts';
import { encodePictures, loadImages, takingTurns } from '../request/start-images.ts';
import { embedFlux, fluxComponents, fluxInputs } from './calls.ts';
import { fluxConditions, fluxGuidance, fluxOptions } from './options.ts';
import { imageIds } from './positions.ts';

/** Width × height of the pictures that the model was trained at. */
const trainedSizes =
  '672×1568 688×1504 720×1456 752×1392 800×1328 832×1248 880×1184 944×1104 1024×1024 1104×944 1184×880 1248×832 1328×800 1392×752 1456×720 1504×688 1568×672'
    .split(' ')
    .map((size) => size.split('×').map(Number) as [number, number]);

export const fluxKontextPipeline = definePipeline({
  classNames: ['FluxKontextPipeline'],
  components: fluxComponents,

  options: {
    conditions: fluxConditions,
    guidance: fluxGuidance,
    options: {
      ...fluxOptions(3.5),
      trueCfgScale: { default: 1 },
      maxArea: { default: 1024 ** 2 },
      image: {},
      autoResize: {
        default: true,
        idle: { because: 'without an image', when: ({ image }) => image === undefined },
      },
    },
  },

  async plan({ parts, settings, reading, warnings }) {
    const { transformer, vae, scheduler } = parts;
    const { batch, maxSequenceLength, guidanceScale } = settings;
    const multiple = 2 * vae.spatialScale;
    const { height, width } = ofArea(settings, multiple);
    if (height !== settings.height || width !== settings.width)
      warnings.add(`width and height become ${width} x ${height}, which have maxArea ${settings.maxArea} pixels`);
    const [rows, columns] = [height / vae.spatialScale, width / vae.spatialScale];
    const latents = packedLatents([batch, transformer.traits.inChannels / 4, rows, columns]);
    const sources = takingTurns(settings.image, batch);
    const pixels = sources && (await trainedPictures(await loadImages(sources), { multiple, ...settings }));
    const referenceIds = pixels && ofReference(imageIds(pixels.dim(2) / multiple, pixels.dim(3) / multiple));
    const tokens = (rows * columns) / 4;
    return {
      tokens: tokens + (referenceIds?.dim(0) ?? 0) + maxSequenceLength,
      size: { height, width },
      embed: (condition) => embedFlux(parts, condition, { maxLength: maxSequenceLength, ...reading }),
      latents,
      schedule: flowSchedule(settings, { scheduler, tokens }),
      start: async (noise, ownScheduler) => ({
        ...(pixels && {
          references: packLatents(await encodePictures(pixels, { vae, batch, signal: settings.signal })),
        }),
        latents: initialLatents(ownScheduler, { latents, noise, given: settings.latents }),
      }),
      inputsAt: fluxInputs(transformer, {
        rows: rows / 2,
        columns: columns / 2,
        guidanceScale,
        ...(referenceIds && { referenceIds }),
      }),
    };
  },
});

interface Area {
  height: number;
  width: number;
  maxArea: number;
}

/** The size of this area, in whole tokens, whose edges are to each other as those asked for. */
function ofArea({ height, width, maxArea }: Area, multiple: number) {
  const whole = (edge: number) => Math.floor(Math.round(edge) / multiple) * multiple;
  return { height: whole(Math.sqrt((maxArea * height) / width)), width: whole(Math.sqrt((maxArea * width) / height)) };
}

/** Pictures [n, 3, H, W] at the trained size that is nearest to the first one's ratio, or at its own, in whole tokens. */
async function trainedPictures(
  images: readonly Image[],
  { multiple, autoResize }: { multiple: number; autoResize: boolean },
): Promise<Tensor> {
  const [first] = images;
  const ratio = first!.width / first!.height;
  const distance = ([width, height]: readonly [number, number]) => Math.abs(ratio - width / height);
  const nearest = trainedSizes.reduce((best, size) => (distance(size) < distance(best) ? size : best));
  const [width, height] = (autoResize ? nearest : [first!.width, first!.height]).map(
    (edge) => Math.floor(edge / multiple) * multiple,
  ) as [number, number];
  const sized = await Promise.all(images.map((image) => image.resize(width, height)));
  return join(
    sized.map((image) => image.toTensor()),
    0,
  );
}

/** The same positions in another picture. */
function ofReference(ids: Tensor): Tensor {
  return floatTensor(
    ids.f32.map((value, i) => (i % 3 === 0 ? 1 : value)),
    ids.shape,
  );
}
