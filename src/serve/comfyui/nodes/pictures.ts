/** Nodes of pictures: those that were sent, and those that were drawn. */
import { type Input, type Inputs, type NodeClass, NodeRefusal } from '../graph/node.ts';
import type { Drawing } from '../graph/values.ts';
import { type MaskChannel, maskOf, scaled, sent } from '../lazy-pictures.ts';

const upload: Input = { type: 'UPLOAD' };
const prefix: Input = { type: 'STRING', default: 'ComfyUI' };

const kernels: Readonly<Record<string, 'nearest' | 'lanczos3'>> = { 'nearest-exact': 'nearest', lanczos: 'lanczos3' };

/** Pictures that were drawn. @throws NodeRefusal for those that were sent */
function drawn(inputs: Inputs): { type: 'IMAGE'; from: 'drawing'; drawing: Drawing } {
  const image = inputs.link('images', 'IMAGE');
  if (image.from === 'drawing') return image;
  throw new NodeRefusal('images', 'is a picture that was sent, and nothing would be drawn');
}

export const pictures: Readonly<Record<string, NodeClass>> = {
  LoadImage: {
    title: 'Load Image',
    category: 'image',
    inputs: { image: upload },
    outputs: [
      ['IMAGE', 'IMAGE'],
      ['MASK', 'MASK'],
    ],
    read: (inputs, { uploads }) => {
      const file = uploads.get(inputs.text('image'))!;
      return [
        { type: 'IMAGE', from: 'file', picture: sent(file) },
        { type: 'MASK', picture: maskOf(file, 'alpha') },
      ];
    },
  },
  LoadImageMask: {
    title: 'Load Image (as Mask)',
    category: 'mask',
    inputs: { image: upload, channel: { type: 'COMBO', choices: () => ['alpha', 'red', 'green', 'blue'] } },
    outputs: [['MASK', 'MASK']],
    read: (inputs, { uploads }) => {
      const channel = inputs.text('channel') as MaskChannel;
      return [{ type: 'MASK', picture: maskOf(uploads.get(inputs.text('image'))!, channel) }];
    },
  },
  ImageScale: {
    title: 'Upscale Image',
    category: 'image/upscaling',
    description: 'Of pictures that were sent, which have 8 bits; methods that need more are refused.',
    inputs: {
      image: { type: 'IMAGE' },
      upscale_method: { type: 'COMBO', choices: () => Object.keys(kernels) },
      width: { type: 'INT', default: 512, min: 0, max: 16384 },
      height: { type: 'INT', default: 512, min: 0, max: 16384 },
      crop: { type: 'COMBO', choices: () => ['disabled', 'center'] },
    },
    outputs: [['IMAGE', 'IMAGE']],
    read: (inputs, { core }) => {
      const image = inputs.link('image', 'IMAGE');
      if (image.from !== 'file')
        throw new NodeRefusal(
          'image',
          'only pictures that were sent can be scaled here; draw at the size that is wanted',
        );
      const { picture } = image;
      const [width, height] = [inputs.number('width'), inputs.number('height')];
      if (width === 0 && height === 0) return [image];
      // One side of 0 follows the picture's ratio.
      const size = {
        width: width || Math.max(1, Math.round((picture.width * height) / picture.height)),
        height: height || Math.max(1, Math.round((picture.height * width) / picture.width)),
      };
      if (size.width * size.height > core.settings.maxPixels)
        throw new NodeRefusal('width', `pictures are limited to ${core.settings.maxPixels} pixels on this server`);
      const method = { kernel: kernels[inputs.text('upscale_method')]!, isCut: inputs.text('crop') === 'center' };
      return [{ type: 'IMAGE', from: 'file', picture: scaled(picture, { ...size, ...method }) }];
    },
  },
  SaveImage: {
    title: 'Save Image',
    category: 'image',
    inputs: { images: { type: 'IMAGE' }, filename_prefix: prefix },
    outputs: [],
    read: (inputs) => [drawn(inputs)],
    output: (inputs) => ({ prefix: inputs.text('filename_prefix'), type: 'output' }),
  },
  PreviewImage: {
    title: 'Preview Image',
    category: 'image',
    inputs: { images: { type: 'IMAGE' } },
    outputs: [],
    read: (inputs) => [drawn(inputs)],
    output: () => ({ prefix: 'ComfyUI_temp', type: 'temp' }),
  },
  SaveAnimatedWEBP: {
    title: 'SaveAnimatedWEBP',
    category: 'image/animation',
    description: 'Of models that draw videos. How they are compressed the server decides.',
    inputs: {
      images: { type: 'IMAGE' },
      filename_prefix: prefix,
      fps: { type: 'FLOAT', default: 6, min: 0.01, max: 1000, step: 0.01 },
      lossless: { type: 'BOOLEAN', default: true },
      quality: { type: 'INT', default: 80, min: 0, max: 100 },
      method: { type: 'COMBO', choices: () => ['default', 'fastest', 'slowest'] },
    },
    outputs: [],
    read: (inputs) => {
      inputs.note('lossless, quality and method have no effect: how a video is compressed the server decides');
      return [drawn(inputs)];
    },
    output: (inputs) => ({
      prefix: inputs.text('filename_prefix'),
      type: 'output',
      video: { format: 'webp', fps: inputs.number('fps') },
    }),
  },
  CreateVideo: {
    title: 'Create Video',
    category: 'image/video',
    inputs: {
      images: { type: 'IMAGE' },
      fps: { type: 'FLOAT', default: 30, min: 1, max: 120, step: 1 },
    },
    outputs: [['VIDEO', 'VIDEO']],
    read: (inputs) => [{ type: 'VIDEO', drawing: drawn(inputs).drawing, fps: inputs.number('fps') }],
  },
  SaveVideo: {
    title: 'Save Video',
    category: 'image/video',
    inputs: {
      video: { type: 'VIDEO' },
      filename_prefix: { type: 'STRING', default: 'video/ComfyUI' },
      format: { type: 'COMBO', choices: () => ['auto', 'mp4'] },
      codec: { type: 'COMBO', choices: () => ['auto', 'h264'] },
    },
    outputs: [],
    read: (inputs) => [{ type: 'IMAGE', from: 'drawing', drawing: inputs.link('video', 'VIDEO').drawing }],
    output: (inputs) => ({
      prefix: inputs.text('filename_prefix'),
      type: 'output',
      video: { format: 'mp4', fps: inputs.link('video', 'VIDEO').fps },
    }),
  },
};
