import { describe, expect, it } from 'vitest';
import { Generator } from '../tensor/generator.ts';
import { floatTensor, Tensor } from '../tensor/tensor.ts';
import { createScheduler } from './create-scheduler.ts';
import { FlowMatchEulerDiscreteScheduler } from './flow-match/flow-match-euler.ts';
import { calculateShift } from './spacing/flow-shift.ts';

const flow = (config = {}) => new FlowMatchEulerDiscreteScheduler(config);
const x = floatTensor([1, -2, 3]);
const v = floatTensor([0.5, 0.25, -1]);

describe('setTimesteps', () => {
  it.each([
    [{ numInferenceSteps: 0 }, 'numInferenceSteps must be a positive integer, got 0'],
    [{ numInferenceSteps: 2.5 }, 'numInferenceSteps must be a positive integer, got 2.5'],
    [{ numInferenceSteps: Number.NaN }, 'numInferenceSteps must be a positive integer, got NaN'],
    [{}, 'numInferenceSteps or sigmas or timesteps is required'],
    [{ sigmas: [] }, 'sigmas must not be empty'],
    [{ sigmas: [1, Number.NaN] }, 'sigmas[1] must be a number >= 0, got NaN'],
    [{ sigmas: [1, 0.5, 0.6] }, 'sigmas must decrease, but sigmas[2] = 0.6 follows 0.5'],
    [{ sigmas: [1, 0.5, 0] }, 'sigmas must lie above 0 and up to 1'],
    [{ sigmas: [2, 1] }, 'sigmas must lie above 0 and up to 1'],
    [{ sigmas: [1, 0.5], numInferenceSteps: 3 }, 'sigmas has 2 entries where 3 steps are asked for'],
    [{ timesteps: [1001, 500] }, 'timesteps must not exceed 1000'],
    [{ numInferenceSteps: 4, mu: Number.POSITIVE_INFINITY }, 'mu must be a finite number, got Infinity'],
  ])('refuses %j', (options, message) => {
    expect(() => flow().setTimesteps(options)).toThrow(`FlowMatchEulerDiscreteScheduler: ${message}`);
  });

  it('requires mu where shifting depends on the resolution', () => {
    expect(() => flow({ use_dynamic_shifting: true }).setTimesteps({ numInferenceSteps: 4 })).toThrow('requires mu');
    const linear = flow({ use_dynamic_shifting: true, time_shift_type: 'linear' });
    expect(() => linear.setTimesteps({ numInferenceSteps: 4, mu: 0 })).toThrow('mu must be positive');
  });

  it('takes given timesteps as they are and derives sigmas from them', () => {
    const scheduler = flow({ shift: 3 });
    scheduler.setTimesteps({ timesteps: [900, 500] });
    expect(scheduler.timesteps).toEqual([900, 500]);
    expect(scheduler.sigmas).toEqual([0.964285671710968, 0.75, 0]);
  });

  it('keeps a schedule of one step although its only level cannot be stretched', () => {
    const scheduler = flow({ use_dynamic_shifting: true, shift_terminal: 0.02 });
    scheduler.setTimesteps({ sigmas: [1], mu: 0.8 });
    expect(scheduler.sigmas).toEqual([1, 0]);
  });
});

describe('step', () => {
  it('needs a schedule', () => {
    expect(() => flow().step({ modelOutput: v, timestep: 1000, sample: x })).toThrow('call setTimesteps first');
    expect(() => flow().setBeginIndex(0)).toThrow('call setTimesteps first');
  });

  it('keeps to the order of the schedule and ends with it', () => {
    const scheduler = flow();
    scheduler.setTimesteps({ sigmas: [1, 0.5] });
    const step = (timestep: number) => scheduler.step({ modelOutput: v, timestep, sample: x });
    expect(() => step(123)).toThrow('timestep 123 is not in the schedule (1000, 500)');
    step(1000);
    expect(() => step(1000)).toThrow('timestep 1000 is not the next of the schedule (500)');
    step(500);
    expect(() => step(500)).toThrow('all 2 steps are taken');
  });

  it('can begin in the middle, by index or by the first timestep', () => {
    const byIndex = flow();
    byIndex.setTimesteps({ sigmas: [1, 0.75, 0.5] });
    expect(() => byIndex.setBeginIndex(3)).toThrow('begin index must be from 0 to 2, got 3');
    const byTimestep = byIndex.clone();
    byTimestep.setTimesteps({ sigmas: [1, 0.75, 0.5] });
    byIndex.setBeginIndex(1);
    const options = { modelOutput: v, timestep: 750, sample: x };
    const expected = [1 - 0.25 * 0.5, -2 - 0.25 * 0.25, 3 + 0.25];
    expect([...byIndex.step(options).prevSample.data]).toEqual(expected);
    expect([...byTimestep.step(options).prevSample.data]).toEqual(expected);
    expect(() => byIndex.setBeginIndex(0)).toThrow('before the first step');
  });

  it('refuses shapes that differ, output that is not finite, eta and missing noise', () => {
    const scheduler = flow({ stochastic_sampling: true });
    scheduler.setTimesteps({ numInferenceSteps: 2 });
    const options = { modelOutput: v, timestep: 1000, sample: x };
    expect(() => scheduler.step({ ...options, sample: x.reshape([3, 1]) })).toThrow(
      'model output [3] and sample [3,1] must have one shape',
    );
    expect(() => scheduler.step({ ...options, modelOutput: floatTensor([1, Number.NaN, 2]) })).toThrow(
      'the model output at timestep 1000 is not finite',
    );
    expect(() => scheduler.step({ ...options, eta: 0.5 })).toThrow('takes no eta');
    expect(() => scheduler.step(options)).toThrow('pass a generator');
    // A refused step leaves the schedule where it was.
    scheduler.step({ ...options, generator: new Generator(0) });
  });

  it('answers in the element type of the model output', () => {
    const scheduler = flow();
    scheduler.setTimesteps({ sigmas: [1, 0.5] });
    const bits = new Tensor('bfloat16', Uint16Array.of(0x3f80, 0xc000, 0x4040), [3]); // 1, -2, 3
    const { prevSample } = scheduler.step({ modelOutput: bits, timestep: 1000, sample: x });
    expect(prevSample.dtype).toBe('bfloat16');
    expect([...prevSample.float().data]).toEqual([0.5, -1, 1.5]);
  });

  it('belongs to one clone', () => {
    const scheduler = flow({ shift: 3 });
    scheduler.setTimesteps({ numInferenceSteps: 2 });
    const clone = scheduler.clone();
    expect(clone.config).toEqual(scheduler.config);
    expect(clone.timesteps).toEqual([]);
    clone.setTimesteps({ numInferenceSteps: 2 });
    clone.step({ modelOutput: v, timestep: 1000, sample: x });
    scheduler.step({ modelOutput: v, timestep: 1000, sample: x });
  });
});

it('mixes noise in by the level of a timestep', () => {
  const scheduler = flow();
  scheduler.setTimesteps({ sigmas: [1, 0.75, 0.5] });
  expect([...scheduler.addNoise({ sample: x, noise: v, timestep: 750 }).data]).toEqual([0.625, -0.3125, 0]);
  expect(() => scheduler.addNoise({ sample: x, noise: floatTensor([1]), timestep: 750 })).toThrow('one shape');
});

describe('what single schedulers refuse', () => {
  const flowModel = { prediction_type: 'flow_prediction', use_flow_sigmas: true };

  it.each([
    ['DDIMScheduler', {}, { numInferenceSteps: 1001 }, 'numInferenceSteps must not exceed the 1000 of training'],
    ['DDIMScheduler', {}, { timesteps: [1] }, 'takes no timesteps'],
    ['DDIMScheduler', { steps_offset: 1 }, { numInferenceSteps: 1000 }, 'integers from 0 to 999, got 1000'],
    ['DDPMScheduler', {}, { timesteps: [900, 10.5] }, 'integers from 0 to 999, got 10.5'],
    ['DDPMScheduler', {}, { timesteps: [900, 10], numInferenceSteps: 2 }, 'exclude each other'],
    ['LCMScheduler', {}, { numInferenceSteps: 51 }, 'must not exceed original_inference_steps, 50, got 51'],
    ['LCMScheduler', { original_inference_steps: 2000 }, { numInferenceSteps: 4 }, 'from 0 to 999, got -1'],
    ['EulerDiscreteScheduler', {}, { timesteps: [1000, 1] }, 'timesteps must lie below 1000, got 1000'],
    ['EulerDiscreteScheduler', {}, { sigmas: [1] }, 'sigmas need at least two entries'],
    ['EulerDiscreteScheduler', { use_karras_sigmas: true }, { timesteps: [9] }, 'no timesteps with use_karras_sigmas'],
    ['DPMSolverMultistepScheduler', {}, { numInferenceSteps: 4, mu: 1 }, 'takes mu only with use_dynamic_shifting'],
    ['DPMSolverMultistepScheduler', {}, { numInferenceSteps: 1001 }, '1001 steps are too many, noise levels repeat'],
    ['UniPCMultistepScheduler', {}, { sigmas: [1, 0.5] }, 'takes sigmas only with use_flow_sigmas'],
    ['UniPCMultistepScheduler', flowModel, { sigmas: [1.5, 0.5] }, 'sigmas must lie above 0 and up to 1'],
    ['SCMScheduler', {}, { timesteps: [2, 1] }, 'timesteps are angles up to 1.5708, got 2'],
  ])('%s %j: setTimesteps(%j)', (className, config, options, message) => {
    const scheduler = createScheduler(className, config);
    expect(() => scheduler.setTimesteps(options)).toThrow(message);
    expect(scheduler.timesteps).toEqual([]);
  });

  it.each([
    ['DPMSolverMultistepScheduler', { algorithm_type: 'dpmsolver' }, "needs final_sigmas_type 'sigma_min'"],
    ['DPMSolverMultistepScheduler', { algorithm_type: 'sde-dpmsolver++', solver_order: 3 }, 'solver_order 1 and 2'],
    ['DPMSolverMultistepScheduler', { variance_type: 'learned' }, 'DPMSolverMultistepScheduler.variance_type'],
    ['DPMSolverSinglestepScheduler', { algorithm_type: 'deis' }, 'DPMSolverSinglestepScheduler.algorithm_type'],
    ['DDPMScheduler', { variance_type: 'learned_range' }, 'DDPMScheduler.variance_type'],
    ['DDIMScheduler', { beta_schedule: 'sigmoid' }, 'DDIMScheduler.beta_schedule'],
    ['DDIMScheduler', { trained_betas: [0.1, 0.2] }, 'trained_betas: has 2 entries for num_train_timesteps 1000'],
    ['UniPCMultistepScheduler', { solver_p: {} }, 'UniPCMultistepScheduler.solver_p'],
    ['UniPCMultistepScheduler', { predict_x0: false, ...flowModel }, 'predict_x0 false cannot be used with'],
    ['FlowMatchLCMScheduler', { scale_factors: [0.5] }, 'FlowMatchLCMScheduler.scale_factors'],
  ])('%s of %j', (className, config, message) => {
    expect(() => createScheduler(className, config)).toThrow(message);
  });

  it('Heun is not entered between the two calls of a step', () => {
    const scheduler = createScheduler('FlowMatchHeunDiscreteScheduler');
    scheduler.setTimesteps({ numInferenceSteps: 3 });
    expect(() => scheduler.setBeginIndex(1)).toThrow('begin index must be a multiple of 2');
    scheduler.setBeginIndex(2);
  });

  it('DDIM takes eta from 0 to 1', () => {
    const scheduler = createScheduler('DDIMScheduler');
    scheduler.setTimesteps({ numInferenceSteps: 2 });
    const options = { modelOutput: v, timestep: 500, sample: x };
    expect(() => scheduler.step({ ...options, eta: 1.5 })).toThrow('eta must be from 0 to 1, got 1.5');
    expect(() => scheduler.step({ ...options, eta: 1 })).toThrow('pass a generator');
  });

  it('a step that divides by a vanished signal says so', () => {
    const scheduler = createScheduler('DDIMScheduler', { rescale_betas_zero_snr: true, timestep_spacing: 'trailing' });
    scheduler.setTimesteps({ numInferenceSteps: 2 });
    const step = () => scheduler.step({ modelOutput: v, timestep: 999, sample: x });
    expect(step).toThrow('DDIMScheduler: the step at timestep 999 left the range of numbers');
  });
});

describe('configuration', () => {
  it('takes snake case, camel case, null for the default and foreign fields', () => {
    const config = { _class_name: 'x', use_karras_sigmas: true, timeShiftType: 'linear', shift: null, beta_start: 9 };
    expect(createScheduler('FlowMatchEulerDiscreteScheduler', config).config).toMatchObject({
      use_karras_sigmas: true,
      time_shift_type: 'linear',
      shift: 1,
    });
  });

  it.each([
    [{ shift: 'a lot' }, 'shift'],
    [{ shift: 0 }, 'shift'],
    [{ time_shift_type: 'cubic' }, 'time_shift_type'],
    [{ num_train_timesteps: 0.5 }, 'num_train_timesteps'],
    [{ use_karras_sigma: true }, 'use_karras_sigma: unknown field; did you mean use_karras_sigmas?'],
  ])('names the field at fault in %j', (config, field) => {
    expect(() => flow(config)).toThrow(`FlowMatchEulerDiscreteScheduler.${field}`);
  });

  it('refuses two spacings at once', () => {
    expect(() => flow({ use_karras_sigmas: true, use_beta_sigmas: true })).toThrow(
      'FlowMatchEulerDiscreteScheduler: use_karras_sigmas and use_beta_sigmas exclude each other',
    );
  });

  it('knows its classes', () => {
    expect(() => createScheduler('FlowMatchEulerScheduler')).toThrow(
      "no scheduler 'FlowMatchEulerScheduler'; known: CogVideoXDDIMScheduler, Cog",
    );
    expect(() => createScheduler('flowmatcheulerdiscretescheduler')).toThrow('did you mean FlowMatchEulerDisc');
    expect(() => createScheduler('toString')).toThrow("no scheduler 'toString'");
  });
});

it('calculateShift is linear between the two given sizes and beyond', () => {
  expect(calculateShift({ imageSeqLen: 256 })).toBe(0.5);
  expect(calculateShift({ imageSeqLen: 4096 })).toBeCloseTo(1.15, 12);
  expect(calculateShift({ imageSeqLen: 1024 })).toBeCloseTo(0.63, 12);
  expect(calculateShift({ imageSeqLen: 6889, maxSeqLen: 8192, maxShift: 0.9 })).toBeCloseTo(0.8343245967741936, 12);
});
