/** ControlNets given to a pipeline when it is loaded: which pipeline it becomes, and what is refused. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { generate } from '../cli/commands/generate.ts';
import { Image } from '../images/image.ts';
import { fixtures } from '../models/testing/golden.ts';
import { floatTensor } from '../tensor/tensor.ts';
import { writeSafetensors } from '../weights/safetensors/write-safetensors.ts';
import { DiffusionPipeline } from './diffusion-pipeline.ts';
import { assembleCheckpoint, readRecording } from './testing/recorded.ts';

const net = (name: string) => path.join(fixtures, 'controlnets', name);
const controlImage = path.join(fixtures, 'pipelines/flux_controlnet/control.png');
const small = { height: 32, width: 32, numInferenceSteps: 2, maxSequenceLength: 8, seed: 1 };

let folder: string;
let flux: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-controlnets-'));
  flux = assembleCheckpoint(readRecording('flux_controlnets').checkpoint);
});
afterAll(() => Promise.all([folder, flux].map((place) => rm(place, { recursive: true }))));

it('becomes the pipeline of its family that the net is for', async () => {
  const qwen = assembleCheckpoint(readRecording('qwenimage_controlnets').checkpoint);
  try {
    await using plain = await DiffusionPipeline.fromPretrained(qwen, { controlnet: net('qwenimage_controlnet') });
    expect(plain.className).toBe('QwenImageControlNetPipeline');
    await using masked = await DiffusionPipeline.fromPretrained(qwen, {
      controlnet: net('qwenimage_controlnet_inpaint'),
    });
    expect(masked.className).toBe('QwenImageControlNetInpaintPipeline');
  } finally {
    await rm(qwen, { recursive: true });
  }
});

it.each([
  ['another family', net('sd3_controlnet'), 'SD3ControlNetModel is not FluxControlNetModel'],
  ['a transformer', path.join(fixtures, 'models/flux'), 'FluxTransformer2DModel is not FluxControlNetModel'],
  ['a file', path.join(net('flux_controlnet'), 'diffusion_pytorch_model.safetensors'), 'is a file; a ControlNet is'],
  ['nothing', [], 'controlnet: is an empty list'],
])('refuses %s by name', async (_what, controlnet, message) => {
  await expect(DiffusionPipeline.fromPretrained(flux, { controlnet })).rejects.toThrow(message);
});

it("refuses XLabs' own files, IP-adapters, and families without ControlNets", async () => {
  const write = async (name: string, names: readonly string[]) => {
    const file = path.join(folder, `${name}.safetensors`);
    await writeSafetensors(file, Object.fromEntries(names.map((key) => [key, floatTensor([1])])));
    return file;
  };
  const xlabs = await write('xlabs', [
    'input_hint_block.0.weight',
    'controlnet_blocks.0.weight',
    'double_blocks.0.img_attn.qkv.weight',
  ]);
  await expect(DiffusionPipeline.fromPretrained(flux, { controlnet: xlabs })).rejects.toThrow(
    "is a ControlNet for FLUX.1 in XLabs' names, which is not run as a model; take its conversion to Diffusers",
  );
  const adapter = await write('adapter', ['double_blocks.0.processor.ip_adapter_double_stream_k_proj.weight']);
  await expect(DiffusionPipeline.fromPretrained(flux, { controlnet: adapter })).rejects.toThrow(
    'is an IP-adapter for FLUX.1, which is not run',
  );
  const pixart = assembleCheckpoint(readRecording('pixart_sigma').checkpoint);
  await expect(DiffusionPipeline.fromPretrained(pixart, { controlnet: net('sd3_controlnet') })).rejects.toThrow(
    'controlnet: a PixArtSigmaPipeline takes no ControlNet; those that do: FluxPipeline, StableDiffusion3Pipeline',
  );
  await rm(pixart, { recursive: true });
});

it('says what nets of different kinds cannot do together', async () => {
  const controlnet = [net('flux_controlnet'), net('flux_controlnet_union')];
  await using deep = await DiffusionPipeline.fromPretrained(flux, { controlnet });
  const request = { ...small, prompt: 'cat', controlImage: [controlImage, controlImage], controlMode: [null, 1] };
  const { warnings } = await deep.generate({ ...request, outputType: 'latent' });
  expect(warnings.join()).toContain('of controlnet_block_samples, 1 and 2, only the first 1 are added up');
  await using mixed = await DiffusionPipeline.fromPretrained(flux, {
    controlnet: [net('flux_controlnet'), net('flux_controlnet_xlabs')],
  });
  await expect(mixed.generate({ ...request, controlMode: undefined })).rejects.toThrow(
    'controlnet: ControlNets of XLabs and others',
  );
});

it('names what a pipeline without one, or no pipeline, can do', async () => {
  await using pipe = await DiffusionPipeline.fromPretrained(flux);
  const ask = (more: object) => pipe.generate({ ...small, prompt: 'cat', outputType: 'latent', ...more });
  await expect(ask({ controlImage })).rejects.toThrow(
    'controlImage: unknown option of FluxPipeline; of pipelines with',
  );
  await expect(ask({ ip_adapter_image: controlImage })).rejects.toThrow('there are no IP-adapters here');
  await expect(ask({ ip_adapter_image: null })).resolves.toBeDefined();
  const layered = { ...readRecording('qwenimage_text').checkpoint, className: 'QwenImageLayeredPipeline' };
  const root = assembleCheckpoint(layered);
  await expect(DiffusionPipeline.fromPretrained(root)).rejects.toThrow('pictures are not drawn in layers');
  await rm(root, { recursive: true });
});

it('is a flag of the command line, several times for several', { timeout: 60_000 }, async () => {
  const flags = { model: flux, steps: 1, seed: 7, size: { width: 32, height: 32 }, quiet: true, backend: 'cpu' };
  const out = path.join(folder, 'two.png');
  const nets = [net('flux_controlnet'), net('flux_controlnet')];
  await generate('cat', { ...flags, controlnet: nets, controlImage: [controlImage, controlImage], out } as never);
  expect((await Image.load(out)).width).toBe(32);
});
