/** A request's own scheduler: what a checkpoint with that scheduler would have drawn. */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createScheduler } from '../../schedulers/create-scheduler.ts';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';
import type { Pipeline } from '../pipeline.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { itReproducesDiffusers, optionsOf, readRecording } from '../testing/recorded.ts';
import { chooseScheduler } from './scheduler-choice.ts';

const model = path.resolve(import.meta.dirname, '../../../models/emoji-flux');

describe('of a model that predicts flows', () => {
  let pipe: Pipeline;
  beforeAll(async () => {
    pipe = await DiffusionPipeline.fromPretrained(model);
  });
  afterAll(() => pipe.dispose());
  const draw = async (options: GenerateOptions) =>
    (await pipe.generate({ prompt: 'red apple', numInferenceSteps: 3, seed: 3, outputType: 'latent', ...options }))
      .latents;

  it('its own class, or its own fields, change nothing', async () => {
    const own = await draw({});
    expect((await draw({ scheduler: 'FlowMatchEulerDiscreteScheduler' })).data).toEqual(own.data);
    expect((await draw({ scheduler: {} })).data).toEqual(own.data);
    expect((await draw({ scheduler: { shift: 5, use_dynamic_shifting: false } })).data).not.toEqual(own.data);
  });

  it('a solver comes nearer to what many steps give than as many plain steps do', async () => {
    const true_ = (await draw({ numInferenceSteps: 60 })).f32;
    const distance = async (options: GenerateOptions) =>
      (await draw({ numInferenceSteps: 10, ...options })).f32.reduce(
        (sum, value, i) => sum + (value - true_[i]!) ** 2,
        0,
      );
    expect(await distance({ scheduler: 'DPMSolverMultistepScheduler' })).toBeLessThan(await distance({}));
  });

  it.each([
    ['Euler', 'FlowMatchEulerDiscreteScheduler'],
    ['lcm', 'FlowMatchLCMScheduler'],
    ['DPM++ 2M', { className: 'DPMSolverMultistepScheduler', algorithm_type: 'dpmsolver++' }],
    ['uni_pc_bh2 simple', 'UniPCMultistepScheduler'],
  ])('%s is %j', async (scheduler, same) => {
    expect((await draw({ scheduler })).data).toEqual((await draw({ scheduler: same })).data);
  });

  it.each([
    [
      'EulerDiscreteScheduler',
      /^scheduler: a EulerDiscreteScheduler steps along noise, this model was trained with flows/,
    ],
    ['Eulr', /^scheduler: no scheduler 'Eulr'; known: .*FlowMatchEulerDiscreteScheduler/],
    [
      'Euler a',
      /^scheduler: 'euler_ancestral' is no sampler for a model that was trained with flows; there are euler, /,
    ],
    [
      'euler normal',
      /^scheduler: 'normal' is no schedule for a model that was trained with flows; there are automatic, /,
    ],
    [{ shift: 'far' }, /^scheduler: .*shift/],
    [7, /^scheduler: expected a scheduler's class name, or fields of its config, got 7/],
  ])('refuses %j', async (scheduler, message) => {
    await expect(draw({ scheduler } as GenerateOptions)).rejects.toThrow(message);
  });
});

describe('of a model that predicts noise', () => {
  const pipe = itReproducesDiffusers('stable_diffusion_xl');

  it('equals the checkpoint with that scheduler', async () => {
    const { checkpoint, runs } = readRecording('stable_diffusion_xl');
    const { _class_name, ...config } = checkpoint.components['scheduler']!.files!['scheduler_config.json']!;
    const euler = createScheduler(String(_class_name), config);
    const chosen = chooseScheduler(euler, { className: 'DPMSolverMultistepScheduler', use_karras_sigmas: true });
    expect(chosen.config).toMatchObject({ use_karras_sigmas: true, beta_start: config['beta_start'] });
    const options = { ...(await optionsOf('stable_diffusion_xl', runs[0]!)), outputType: 'latent' as const };
    const solver = { className: 'DPMSolverMultistepScheduler', use_karras_sigmas: true };
    const karras = await pipe().generate({ ...options, scheduler: 'DPM++ 2M Karras' });
    expect(karras.latents.data).toEqual((await pipe().generate({ ...options, scheduler: solver })).latents.data);
    const named = await pipe().generate({ ...options, scheduler: 'DDIMScheduler' });
    const back = await pipe().generate(options);
    expect(named.latents.data).not.toEqual(back.latents.data);
    await expect(pipe().generate({ ...options, scheduler: 'FlowMatchHeunDiscreteScheduler' })).rejects.toThrow(
      /steps along flows, this model was trained with noise/,
    );
  });
});
