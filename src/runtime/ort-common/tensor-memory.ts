/** Where an ONNX Runtime backend keeps its tensors: in host memory (`host-memory.ts`) or on a device (`device-memory.ts`). */
import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-common';
import type { Tensor } from '../../tensor/tensor.ts';
import type { SharedSession } from './shared-session.ts';

/** The memory of one tensor. */
export interface TensorMemory {
  /** What a session takes and gives. */
  ort(): OrtTensor | Promise<OrtTensor>;
  /** The values; in memory that nobody else has with `copy`. */
  read(copy: boolean): Promise<Tensor['data']>;
  free(): void;
}

/** How tensors come to a backend and leave it. */
export interface TensorPlace {
  /** What sessions need so that their outputs stay in this place. */
  readonly sessionOptions: InferenceSession.SessionOptions;
  /** @param own whether the tensor's memory is nobody else's from now on */
  upload(tensor: Tensor, own: boolean): TensorMemory;
  /** Takes over what a run of `maker` has made. */
  adopt(result: OrtTensor, maker: SharedSession): TensorMemory;
  /** Gives up what is needed to move tensors. The tensors themselves are freed one by one, before or after. */
  dispose(): Promise<void>;
}

/** Calls ONNX Runtime in its turn. */
export type Call = <T>(work: () => Promise<T>) => Promise<T>;
