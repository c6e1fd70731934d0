/** Nodes: what graphs of them draw, against the same request made in another way. */
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Image } from '../../images/image.ts';
import { fixtures } from '../../models/testing/golden.ts';
import { assembleCheckpoint, readRecording } from '../../pipelines/testing/recorded.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import { bundledModel } from '../../weights/bundled-model.ts';
import { writeSafetensors } from '../../weights/safetensors/write-safetensors.ts';
import type { PlainOptions } from '../jobs/job.ts';
import type { Server } from '../server.ts';
import { levels, startServer } from '../testing/start.ts';
import { changed, draw, fileOf, graph, type Nodes, refused, run, send } from './testing.ts';

let server: Server;
const folder = mkdtempSync(path.join(tmpdir(), 'deja-dit-comfyui-'));
beforeAll(async () => {
  const models = ['stable_diffusion', 'wan', 'flux_inpaint', 'flux_controlnet'].map((name) => {
    const to = path.join(folder, name);
    renameSync(assembleCheckpoint(readRecording(name).checkpoint), to);
    return to;
  });
  const numbers = Float32Array.from({ length: 2 * 256 }, (_, i) => Math.sin(1 + i * i) / 4);
  const layer = 'transformer.transformer_blocks.0.attn.to_q';
  const loraDir = path.join(folder, 'loras');
  mkdirSync(loraDir);
  await writeSafetensors(path.join(loraDir, 'style.safetensors'), {
    [`${layer}.lora_A.weight`]: floatTensor(numbers, [2, 256]),
    [`${layer}.lora_B.weight`]: floatTensor(numbers, [256, 2]),
  });
  server = await startServer({ model: [bundledModel(), ...models], loraDir });
});
afterAll(() => rmSync(folder, { recursive: true }));

async function direct(options: PlainOptions, model = 'emoji-flux'): Promise<Image> {
  const job = server.core.jobs.submit({ kind: 'generate', model, input: { options } });
  const { result, error } = await server.core.jobs.finished(job.id);
  expect(error).toBeUndefined();
  return Image.load(result!.files[0]!.bytes);
}

const apple = { prompt: 'red apple', seed: 7, width: 64, height: 64 } as const;

/** FLUX's workflow. */
function customGraph(changes: Record<string, Record<string, unknown>> = {}): Nodes {
  const { 3: _, 6: text, 5: latent, 9: save } = graph() as Record<number, Nodes[string]>;
  const nodes: Nodes = {
    1: { class_type: 'UNETLoader', inputs: { unet_name: 'emoji-flux', weight_dtype: 'default' } },
    2: { class_type: 'DualCLIPLoader', inputs: { clip_name1: 'emoji-flux', clip_name2: 'emoji-flux', type: 'flux' } },
    4: { class_type: 'VAELoader', inputs: { vae_name: 'emoji-flux' } },
    5: latent!,
    6: { ...text!, inputs: { ...text!.inputs, clip: ['2', 0] } },
    10: {
      class_type: 'ModelSamplingFlux',
      inputs: { model: ['1', 0], max_shift: 1.15, base_shift: 0.5, width: 64, height: 64 },
    },
    11: { class_type: 'BasicGuider', inputs: { model: ['10', 0], conditioning: ['6', 0] } },
    12: { class_type: 'BasicScheduler', inputs: { model: ['10', 0], scheduler: 'simple', steps: 4, denoise: 1 } },
    13: { class_type: 'KSamplerSelect', inputs: { sampler_name: 'euler' } },
    14: { class_type: 'RandomNoise', inputs: { noise_seed: 7 } },
    15: {
      class_type: 'SamplerCustomAdvanced',
      inputs: { noise: ['14', 0], guider: ['11', 0], sampler: ['13', 0], sigmas: ['12', 0], latent_image: ['5', 0] },
    },
    8: { class_type: 'VAEDecodeTiled', inputs: { samples: ['15', 0], vae: ['4', 0], tile_size: 512 } },
    9: save!,
  };
  return changed(nodes, changes);
}

describe('SamplerCustomAdvanced', () => {
  it('draws what KSampler draws, where ModelSamplingFlux has the shift that the model has at that size', async () => {
    const { history } = await run(server, customGraph());
    const drawn = await Image.load(await fileOf(server, history));
    expect(levels(drawn, await draw(server, graph()))).toBeLessThanOrEqual(1);
    expect(history.warnings).toEqual([expect.stringMatching(/^VAEDecodeTiled \(node 8\): tile_size .* no effect/)]);
  });

  it('shifts by what ModelSamplingFlux says', async () => {
    const drawn = await draw(server, customGraph({ 10: { max_shift: 3, base_shift: 3 } }));
    const scheduler = { className: 'FlowMatchEulerDiscreteScheduler', use_dynamic_shifting: false, shift: Math.exp(3) };
    expect(levels(drawn, await direct({ ...apple, numInferenceSteps: 4, scheduler }))).toBeLessThanOrEqual(1);
    expect(levels(drawn, await draw(server, graph()))).toBeGreaterThan(8);
  });

  it('refuses levels of another model than the guider', async () => {
    const { node_errors: nodes } = await refused(server, customGraph({ 12: { model: ['1', 0] } }));
    expect(nodes['15']!.errors[0]!.message).toMatch(/another shift, than the guider/);
  });
});

/** Two KSamplerAdvanced in a row. */
function inParts(changes: Record<string, Record<string, unknown>> = {}): Nodes {
  const { 3: sampler, ...others } = graph({ 3: { steps: 6 } }) as Record<string, Nodes[string]>;
  const { seed: noise_seed, denoise: _, ...inputs } = sampler!.inputs;
  const part = (more: object) => ({ class_type: 'KSamplerAdvanced', inputs: { ...inputs, noise_seed, ...more } });
  const nodes: Nodes = {
    ...others,
    20: part({ add_noise: 'enable', start_at_step: 0, end_at_step: 2, return_with_leftover_noise: 'enable' }),
    3: part({
      add_noise: 'disable',
      noise_seed: 0,
      latent_image: ['20', 0],
      start_at_step: 2,
      end_at_step: 10000,
      return_with_leftover_noise: 'disable',
    }),
  };
  return changed(nodes, changes);
}

describe('KSamplerAdvanced', () => {
  it('two in a row draw what one KSampler does', async () => {
    expect((await draw(server, inParts())).data).toEqual((await draw(server, graph({ 3: { steps: 6 } }))).data);
  });

  it.each([
    [{ 3: { sampler_name: 'dpmpp_2m' }, 20: { sampler_name: 'dpmpp_2m' } }, /begins anew in the middle/],
    [{ 3: { cfg: 2 } }, /must be that of the steps before/],
    [{ 3: { start_at_step: 3 } }, /must be 2 of 6/],
    [{ 3: { add_noise: 'enable' } }, /has noise left in it/],
    [{ 20: { return_with_leftover_noise: 'disable' } }, /must be enable, unless it goes on/],
    [{ 8: { samples: ['20', 0] } }, /second KSamplerAdvanced has to take away/],
    [{ 20: { start_at_step: 1 } }, /needs a picture to start from/],
  ])('%j is refused', async (changes, message) => {
    const { node_errors: nodes } = await refused(server, inParts(changes));
    expect(JSON.stringify(nodes)).toMatch(message);
  });

  it('stops early without noise, as the levels before the last with none behind them do', async () => {
    const nodes = inParts({ 8: { samples: ['20', 0] }, 20: { return_with_leftover_noise: 'disable', end_at_step: 3 } });
    const sigmas = [1, 5 / 6, 4 / 6];
    expect((await draw(server, nodes)).data).toEqual((await direct({ ...apple, sigmas })).data);
  });
});

describe('a picture that was sent', () => {
  let apple64: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    apple64 = await fileOf(server, (await run(server, graph())).history);
    await send(server, '/upload/image', { image: new Blob([apple64]) });
  });
  const fromPicture = (model: string, more: Nodes = {}) => ({
    ...graph({ 3: { latent_image: ['11', 0], denoise: 0.3, steps: 5 }, 4: { ckpt_name: model } }),
    10: { class_type: 'LoadImage', inputs: { image: 'start.png' } },
    11: { class_type: 'VAEEncode', inputs: { pixels: ['10', 0], vae: ['4', 2] } },
    ...more,
  });

  it.each([
    'emoji-flux',
    'stable_diffusion',
  ])('is what %s starts from, with as many steps as it is told', async (model) => {
    const nodes = changed(fromPicture(model), model === 'emoji-flux' ? {} : { 3: { scheduler: 'normal' } });
    const { width, height } = await draw(server, nodes);
    expect([width, height]).toEqual([64, 64]);
    expect(server.core.jobs.list().finished[0]!.progress.steps).toBe(5);
  });

  it.each(['nearest-exact', 'lanczos'])('is scaled by %s', async (method) => {
    const scale = { image: ['10', 0], upscale_method: method, width: 96, height: 48, crop: 'center' };
    const nodes = changed(fromPicture('emoji-flux', { 12: { class_type: 'ImageScale', inputs: scale } }), {
      11: { pixels: ['12', 0] },
    });
    const { width, height } = await draw(server, nodes);
    expect([width, height]).toEqual([96, 48]);
    const kernel = method === 'lanczos' ? 'lanczos3' : 'nearest';
    const { data } = await Image.load(apple64);
    const middle = new Image({ width: 64, height: 32, channels: 3, data: data.slice(16 * 64 * 3, 48 * 64 * 3) });
    const job = server.core.jobs.list().finished[0]!;
    const sentTo = await Image.load(job.request.input.options.image as Uint8Array);
    expect(sentTo.data).toEqual((await middle.resize(96, 48, { kernel })).data);
  });

  it('cannot be scaled by what needs more than 8 bits', async () => {
    const scale = { image: ['10', 0], upscale_method: 'bicubic', width: 96, height: 48, crop: 'disabled' };
    const nodes = changed(fromPicture('emoji-flux', { 12: { class_type: 'ImageScale', inputs: scale } }), {
      11: { pixels: ['12', 0] },
    });
    expect((await refused(server, nodes)).node_errors['12']!.errors[0]!.type).toBe('value_not_in_list');
  });

  it('is inpainted where a mask says, by models that do', async () => {
    const rgba = new Uint8Array(4 * 64 * 64).map((_, i) => (i % 4 < 3 ? 200 : Math.floor(i / 4) % 64 < 32 ? 0 : 255));
    const alpha = await new Image({ width: 64, height: 64, channels: 4, data: rgba }).encode('png');
    const original = JSON.stringify({ filename: 'start.png', type: 'input' });
    const fields = { image: new Blob([alpha]), original_ref: original };
    expect((await send(server, '/upload/mask', fields, 'clip.png')).body.name).toBe('clip.png');
    const nodes: Nodes = changed(
      {
        ...fromPicture('flux_inpaint', {
          13: { class_type: 'LoadImageMask', inputs: { image: 'clip.png', channel: 'alpha' } },
          14: { class_type: 'SetLatentNoiseMask', inputs: { samples: ['11', 0], mask: ['13', 0] } },
        }),
      },
      { 3: { latent_image: ['14', 0], denoise: 1, steps: 3 } },
    );
    const drawn = await draw(server, nodes);
    const mask = new Uint8Array(3 * 64 * 64).map((_, i) => (Math.floor(i / 3) % 64 < 32 ? 255 : 0));
    const maskImage = await new Image({ width: 64, height: 64, channels: 3, data: mask }).encode('png');
    const options = {
      ...apple,
      image: apple64,
      maskImage,
      strength: 1,
      numInferenceSteps: 3,
      scheduler: 'euler simple',
    };
    expect(drawn.data).toEqual((await direct(options, 'flux_inpaint')).data);

    const grown = changed(nodes, { 3: { latent_image: ['15', 0] } });
    grown['15'] = {
      class_type: 'VAEEncodeForInpaint',
      inputs: { pixels: ['10', 0], vae: ['4', 2], mask: ['13', 0], grow_mask_by: 4 },
    };
    await draw(server, grown);
    const { image, maskImage: wider } = server.core.jobs.list().finished[0]!.request.input.options;
    const row = async (bytes: unknown) => (await Image.load(bytes as Uint8Array)).data.slice(0, 3 * 64);
    // A square of four reaches two pixels to the right.
    expect((await row(wider)).indexOf(0)).toBe(3 * 34);
    expect((await row(image)).slice(0, 3 * 32)).toEqual(new Uint8Array(3 * 32).fill(128));
    const other = changed(nodes, { 4: { ckpt_name: 'emoji-flux' } });
    expect(JSON.stringify((await refused(server, other)).node_errors)).toMatch(/does not inpaint/);
  });
});

describe('a ControlNet', () => {
  const control = path.join(fixtures, 'pipelines/flux_controlnet/control.png');
  const nodes = (changes: Record<string, Record<string, unknown>> = {}): Nodes =>
    changed(
      {
        ...graph({
          4: { ckpt_name: 'flux_controlnet' },
          3: { positive: ['22', 0], negative: ['22', 1], steps: 3 },
        }),
        20: { class_type: 'LoadImage', inputs: { image: 'control.png' } },
        21: { class_type: 'ControlNetLoader', inputs: { control_net_name: 'flux_controlnet.safetensors' } },
        22: {
          class_type: 'ControlNetApplyAdvanced',
          inputs: {
            positive: ['6', 0],
            negative: ['7', 0],
            control_net: ['21', 0],
            image: ['20', 0],
            strength: 0.7,
            start_percent: 0,
            end_percent: 0.7,
          },
        },
      },
      changes,
    );
  const draws = { ...apple, numInferenceSteps: 3, scheduler: 'euler simple' };

  it('sees a picture that was sent, as a request says it', async () => {
    await send(server, '/upload/image', { image: new Blob([readFileSync(control)]) }, 'control.png');
    const drawn = await draw(server, nodes());
    const controlImage = new Uint8Array(readFileSync(control));
    const asked = { ...draws, controlImage, controlnetConditioningScale: 0.7, controlGuidanceEnd: 0.7 };
    expect(drawn.data).toEqual((await direct(asked, 'flux_controlnet')).data);
    expect(levels(drawn, await draw(server, nodes({ 22: { strength: 0 } })))).toBeGreaterThan(4);
  });

  it.each([
    [{ 21: { control_net_name: 'emoji-flux' } }, /is of 'emoji-flux': parts of different models cannot be mixed/],
    [
      { 4: { ckpt_name: 'emoji-flux' }, 21: { control_net_name: 'emoji-flux' } },
      /has a ControlNet, and 'emoji-flux' has/,
    ],
  ])('%j is refused', async (changes, message) => {
    expect(JSON.stringify(await refused(server, nodes(changes)))).toMatch(message);
  });
});

describe('videos', () => {
  const video = (changes: Record<string, Record<string, unknown>> = {}): Nodes =>
    changed(
      {
        ...graph({
          3: { scheduler: 'simple', sampler_name: 'uni_pc', cfg: 5, model: ['21', 0] },
          4: { ckpt_name: 'wan' },
        }),
        5: { class_type: 'EmptyHunyuanLatentVideo', inputs: { width: 64, height: 48, length: 9, batch_size: 1 } },
        9: {
          class_type: 'SaveAnimatedWEBP',
          inputs: {
            images: ['8', 0],
            filename_prefix: 'clip',
            fps: 12,
            lossless: false,
            quality: 80,
            method: 'default',
          },
        },
        20: { class_type: 'ModelSamplingSD3', inputs: { model: ['4', 0], shift: 8 } },
        21: {
          class_type: 'WanCacheOptimizer',
          inputs: { model: ['20', 0], enable: true, warmup_steps: 3, skip_interval: 2, print_summary: true },
        },
      },
      changes,
    );

  it('of as many frames, at their speed; a cache re-uses every other step and tells of it', async () => {
    const { history } = await run(server, video({ 3: { steps: 10 } }));
    const bytes = Buffer.from(await fileOf(server, history));
    expect(history.outputs['9']).toMatchObject({
      animated: [true],
      images: [{ filename: expect.stringMatching(/^clip_\d{5}_\.webp$/) }],
    });
    expect(bytes.toString('latin1').split('ANMF').length - 1).toBe(9);
    const report = server.core.jobs.list().finished[0]!.result!.report;
    // Of the seven steps after the warm-up those at 1, 3, 5 and 7 are computed.
    expect([report.steps, report.reusedSteps]).toEqual([10, 3]);
    expect(history.outputs['21']!.text![0]).toMatch(/re-used/);
  });

  it('has the shift that ModelSamplingSD3 says, or else the model’s own', async () => {
    const frames = (options: PlainOptions) =>
      direct({ ...apple, height: 48, numFrames: 5, numInferenceSteps: 2, ...options }, 'wan');
    const plain = { 3: { steps: 2, model: ['4', 0], cfg: 1 }, 5: { length: 5 } };
    const first = async (nodes: Nodes) => Image.load(await fileOf(server, (await run(server, nodes)).history));
    expect((await first(video(plain))).data).toEqual((await frames({ guidanceScale: 1 })).data);
    const shifted = await first(video({ ...plain, 3: { ...plain[3], model: ['20', 0] } }));
    expect(shifted.data).toEqual(
      (await frames({ guidanceScale: 1, scheduler: { flow_shift: 8, solver_type: 'bh1' } })).data,
    );
  });

  it('are no pictures', async () => {
    const errors = async (nodes: Nodes) => JSON.stringify((await refused(server, nodes)).node_errors);
    expect(await errors({ ...video(), 9: graph()['9']! })).toMatch(/draws videos; use SaveAnimatedWEBP/);
    expect(await errors({ ...video(), 5: graph()['5']! })).toMatch(/use EmptyHunyuanLatentVideo/);
    expect(await errors({ ...graph(), 5: video()['5']! })).toMatch(/this model draws pictures/);
  });
});

it('reads two texts, and takes zeros for a negative prompt that is not used', async () => {
  const texts = { clip: ['4', 1], clip_l: 'red apple', t5xxl: 'green pear', guidance: 3.5 };
  const zero = { 30: { class_type: 'ConditioningZeroOut', inputs: { conditioning: ['6', 0] } } };
  const nodes: Nodes = { ...graph({ 3: { negative: ['30', 0] } }), ...zero };
  nodes['6'] = { class_type: 'CLIPTextEncodeFlux', inputs: texts };
  const drawn = await draw(server, nodes);
  expect(drawn.data).toEqual(
    (await direct({ ...apple, prompt2: 'green pear', guidanceScale: 3.5, numInferenceSteps: 4 })).data,
  );
  const guided = await refused(server, changed(nodes, { 3: { cfg: 2 } }));
  expect(JSON.stringify(guided.node_errors)).toMatch(/zeros stand for no text/);
});

it('weights prompts where the model’s encoders can be told so', async () => {
  const text = 'a (red:1.5) apple';
  const drawn = await draw(server, graph({ 6: { text } }));
  const plain = { ...apple, prompt: text, numInferenceSteps: 4 };
  expect(drawn.data).toEqual((await direct({ ...plain, promptWeighting: 'comfyui' })).data);
  expect(drawn.data).not.toEqual((await direct(plain)).data);
});

it('brings LoRAs, each as often as it is loaded', async () => {
  const loaded = (more: Nodes = {}): Nodes => ({
    ...graph({ 3: { model: ['30', 0] }, 6: { clip: ['30', 1] } }),
    30: {
      class_type: 'LoraLoader',
      inputs: {
        model: ['4', 0],
        clip: ['4', 1],
        lora_name: 'style.safetensors',
        strength_model: 0.5,
        strength_clip: 0.5,
      },
    },
    ...more,
  });
  const plain = { ...apple, numInferenceSteps: 4 };
  const half = await draw(server, loaded());
  expect(levels(half, await direct({ ...plain, loras: { style: 0.5 } }))).toBeLessThanOrEqual(1);
  expect(half.data).not.toEqual((await direct(plain)).data);
  const only = { model: ['4', 0], lora_name: 'style', strength_model: 0.25 };
  const twice = changed(loaded({ 31: { class_type: 'LoraLoaderModelOnly', inputs: only } }), {
    30: { model: ['31', 0] },
  });
  expect(levels(await draw(server, twice), await direct({ ...plain, loras: { style: 0.75 } }))).toBeLessThanOrEqual(1);
  const { node_errors: nodes } = await refused(
    server,
    changed(loaded(), { 30: { lora_name: '../style.safetensors' } }),
  );
  expect(nodes['30']!.errors[0]!.type).toBe('value_not_in_list');
});

it('knows the pixels that masks are made of', async () => {
  const file = readFileSync(path.join(fixtures, 'images/rgba.png'));
  await send(server, '/upload/image', { image: new Blob([new Uint8Array(file)]) }, 'rgba.png');
  const alpha = await server.fetch(new Request('http://localhost/view?filename=rgba.png&type=input&channel=a'));
  const image = await Image.load(new Uint8Array(await alpha.arrayBuffer()));
  expect(image.data.filter((_, i) => i % 4 === 3)).toEqual(
    (await Image.load(new Uint8Array(file))).data.filter((_, i) => i % 4 === 3),
  );
});
