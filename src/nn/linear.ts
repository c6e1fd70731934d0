/** Linear layers and the feed-forward networks made of them. */
import { gemm } from '../graph/ops.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import { addedProduct } from './lora.ts';
import { layer, type Module } from './module.ts';
import { quantizedProduct } from './quantized-linear.ts';

/** Whether a layer has a bias is the architecture's to say, as in PyTorch: it is no less missing than a weight. */
export interface BiasOption {
  /** Default true. */
  bias?: boolean | undefined;
}

/**
 * `nn.Linear`: x [..., in] → [..., out]. A weight that is stored quantised is multiplied in its own format. What LoRAs add to the
 * weight is computed beside it, in float32. `outFeatures` is what the architecture expects; undefined where the checkpoint alone
 * knows.
 */
export const linear = layer(
  (m, x: SymbolicTensor, outFeatures: number | undefined, { bias = true }: BiasOption = {}): SymbolicTensor => {
    m.observe('weight', x);
    const additions = m.additions('weight');
    // DoRA changes what the weight itself contributes, but not the bias.
    const apart = bias && additions.some(({ magnitude }) => magnitude);
    const own = ownProduct(m, x, { outFeatures, bias: bias && !apart });
    const sum = additions.reduce((total, addition) => total.add(addedProduct(x, own, addition)), own);
    return apart ? sum.add(m.weight('bias', [own.dim(-1)])) : sum;
  },
);

function ownProduct(
  m: Module,
  x: SymbolicTensor,
  { outFeatures, bias: hasBias }: { outFeatures: number | undefined; bias: boolean },
): SymbolicTensor {
  const shape = outFeatures === undefined ? undefined : [outFeatures, x.dim(-1)];
  const quantized = m.quantized('weight', shape);
  const bias = (features: number) => (hasBias ? m.weight('bias', [features]) : undefined);
  if (!quantized) {
    const weight = m.weight('weight', shape);
    return gemm(x, weight, bias(weight.dim(0)));
  }
  const product = quantizedProduct(x.reshape([-1, x.dim(-1)]), quantized, bias(quantized.shape[0]!));
  return product.reshape([...x.shape.slice(0, -1), product.dim(-1)]);
}

export type Activation = 'gelu' | 'gelu-approximate' | 'geglu' | 'swiglu' | 'silu' | 'linear-silu' | 'relu';

export interface FeedForwardOptions extends BiasOption {
  activation: Activation;
  /** Width of the hidden layer. */
  inner: number;
  /** Default: the input's width. */
  out?: number;
}

/** Diffusers' FeedForward: `net.0.proj` with its activation, then `net.2`. */
export const feedForward = layer(
  (m, x: SymbolicTensor, { activation, inner, out, bias }: FeedForwardOptions): SymbolicTensor => {
    const hidden = activatedLinear(m.at('net.0.proj'), x, { activation, inner, bias });
    return linear(m.at('net.2'), hidden, out ?? x.dim(-1), { bias });
  },
);

/** A linear layer and its activation: x [..., in] → [..., inner], of twice the width before a gated one. */
export function activatedLinear(
  m: Module,
  x: SymbolicTensor,
  { activation, inner, bias }: Omit<FeedForwardOptions, 'out'>,
): SymbolicTensor {
  const gated = activation === 'geglu' || activation === 'swiglu';
  return activate(linear(m, x, gated ? 2 * inner : inner, { bias }), activation);
}

/**
 * The hidden width of a gated MLP that costs as much as a plain one of width `inner` (Llama, arXiv 2302.13971): two thirds of it, up to
 * a multiple.
 */
export function gatedWidth(inner: number, multiple: number): number {
  return multiple * Math.ceil(Math.floor((2 * inner) / 3) / multiple);
}

export interface GatedFeedForwardOptions extends BiasOption {
  /** Width of the hidden layer. */
  inner: number;
  /** Names of the three layers: activated, multiplied with it, and back to the stream. */
  names: { gate: string; value: string; out: string };
  /** Default SiLU. */
  activation?: Activation;
}

/** out(activation(gate(x)) · value(x)) with three separate layers, as in Llama: "SwiGLU" (arXiv 2002.05202) with SiLU. */
export const gatedFeedForward = layer(
  (m, x: SymbolicTensor, { inner, names, activation = 'silu', bias }: GatedFeedForwardOptions): SymbolicTensor => {
    const gate = activate(linear(m.at(names.gate), x, inner, { bias }), activation);
    return linear(m.at(names.out), gate.mul(linear(m.at(names.value), x, inner, { bias })), x.dim(-1), { bias });
  },
);

/**
 * `gatedFeedForward` whose first two layers are one matrix, gate before value, with names of its own; without biases.
 */
export const fusedFeedForward = layer(
  (m, x: SymbolicTensor, { inner, names }: { inner: number; names: { in: string; out: string } }): SymbolicTensor => {
    const [gate, value] = linear(m.at(names.in), x, 2 * inner, { bias: false }).chunk(2);
    return linear(m.at(names.out), gate.silu().mul(value), x.dim(-1), { bias: false });
  },
);

/** Applies an activation. The gated ones take [value, gate] on the last axis and halve it. */
export function activate(x: SymbolicTensor, activation: Activation): SymbolicTensor {
  switch (activation) {
    case 'gelu':
      return x.gelu();
    case 'gelu-approximate':
      return x.gelu('tanh');
    case 'silu':
    case 'linear-silu':
      return x.silu();
    case 'relu':
      return x.relu();
    case 'geglu': {
      const [value, gate] = x.chunk(2) as [SymbolicTensor, SymbolicTensor];
      return value.mul(gate.gelu());
    }
    case 'swiglu': {
      const [value, gate] = x.chunk(2) as [SymbolicTensor, SymbolicTensor];
      return value.mul(gate.silu());
    }
    default:
      return activation satisfies never;
  }
}
