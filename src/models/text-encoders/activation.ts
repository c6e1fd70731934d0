/** Activations under the names that Transformers' configs give them. */
import type { SymbolicTensor } from '../../graph/symbolic.ts';

const activations = {
  gelu: (x: SymbolicTensor) => x.gelu(),
  gelu_new: (x: SymbolicTensor) => x.gelu('tanh'),
  gelu_pytorch_tanh: (x: SymbolicTensor) => x.gelu('tanh'),
  // x·sigmoid(1.702x), the approximation that OpenAI trained CLIP with.
  quick_gelu: (x: SymbolicTensor) => x.silu(1.702),
  relu: (x: SymbolicTensor) => x.relu(),
  silu: (x: SymbolicTensor) => x.silu(),
};

export type HiddenActivation = keyof typeof activations;

/** For `config.choice`. */
export const hiddenActivations = Object.keys(activations) as HiddenActivation[];

export function hiddenActivation(x: SymbolicTensor, name: HiddenActivation): SymbolicTensor {
  return activations[name](x);
}
