/** Makes a function over whole videos, or over a stream of chunks, of one that handles a chunk with its history. */
import { DejaDitError } from '../../../errors/errors.ts';
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import type { Module } from '../../../nn/module.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import type { FunctionDefinition } from '../../graph-model.ts';
import type { InputValue } from '../../inputs.ts';
import { History } from './causal.ts';

export interface StreamedFunction<Config> {
  /** Name of the video input [B, C, T, H, W]. */
  input: string;
  inputChannels(config: Config): number;
  /** Whether there is only ever one frame. */
  ofPictures(config: Config): boolean;
  /** Frames that later chunks are multiples of; the first frame comes before them. */
  framesPerStep(config: Config): number;
  build(m: Module, chunk: SymbolicTensor, config: Config, history: History): Record<string, SymbolicTensor>;
}

const prefix = 'history.';

/**
 * Inputs: the video, and `history`: left out, the video is whole; `{}`, it is the beginning of a stream; the `history.*` outputs
 * of the chunk before, it goes on from there. Streams have the outputs `history.*`.
 */
export function streamed<Config>(fn: StreamedFunction<Config>): FunctionDefinition<Config> {
  const { input } = fn;
  return {
    inputs: (config) => [
      {
        name: input,
        kind: 'float',
        shape: ['batch', fn.inputChannels(config), fn.ofPictures(config) ? 1 : 'frames', 'height', 'width'],
      },
      { name: 'history', kind: 'other', optional: true },
    ],
    prepare(tensors, config, { history }) {
      const remembered = readHistory(history);
      const goesOn = Object.keys(remembered).length > 0;
      const [step, frames] = [fn.framesPerStep(config), tensors[input]!.dim(2)];
      if ((goesOn ? frames : frames - 1) % step !== 0) {
        throw new DejaDitError(
          'SHAPE_MISMATCH',
          `${frames} frames, expected ${goesOn ? `a multiple of ${step}` : `1 plus a multiple of ${step}`}`,
          { path: input },
        );
      }
      return { tensors: { ...tensors, ...remembered }, statics: { stream: history !== undefined } };
    },
    build(m, inputs, config, { stream }) {
      const video = inputs[input]!;
      const entries = Object.entries(inputs).filter(([name]) => name.startsWith(prefix));
      const previous = new Map(entries.map(([name, frames]) => [name.slice(prefix.length), frames]));
      // The first frame is a chunk of its own.
      const frames = video.dim(2);
      const chunks = video.split(2, previous.size === 0 && frames > 1 ? [1, frames - 1] : [frames]);
      const results: Record<string, SymbolicTensor>[] = [];
      let remembered: ReadonlyMap<string, SymbolicTensor> | undefined = previous.size > 0 ? previous : undefined;
      for (const [i, chunk] of chunks.entries()) {
        const history = new History({
          previous: remembered,
          keep: stream === true || i < chunks.length - 1,
          ofPictures: fn.ofPictures(config),
        });
        results.push(fn.build(m, chunk, config, history));
        remembered = history.entries;
      }
      const outputs: Record<string, SymbolicTensor> = {};
      for (const name of Object.keys(results[0]!)) {
        const parts = results.map((result) => result[name]!);
        outputs[name] = concat(parts, 2);
      }
      if (stream) for (const [path, tensor] of remembered!) outputs[prefix + path] = tensor;
      return outputs;
    },
  };
}

function readHistory(history: InputValue): Record<string, Tensor> {
  const remembered: Record<string, Tensor> = {};
  for (const [name, tensor] of Object.entries(history ?? {})) {
    if (!name.startsWith(prefix) || !(tensor instanceof Tensor)) {
      const expected = "expected the 'history.*' outputs of the chunk before";
      throw new DejaDitError('INVALID_ARGUMENT', `has '${name}', ${expected}`, { path: 'history' });
    }
    remembered[name] = tensor;
  }
  return remembered;
}
