/** Computes what LoRAs and their kin add to a linear layer, beside the layer's own product. What the tensors are is in `weights/lora`. */
import { gemm } from '../graph/ops.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import type { Module } from './module.ts';

type Addition = ReturnType<Module['additions']>[number];

/**
 * What one adapter adds at its strength.
 * @param x [..., in]
 * @param own x times the layer's own weight [..., out]; without the bias if the adapter is a DoRA
 */
export function addedProduct(x: SymbolicTensor, own: SymbolicTensor, addition: Addition): SymbolicTensor {
  const { bias, strength } = addition;
  const parts = [changedProduct(x, own, addition), bias?.mul(strength)];
  const [first, ...others] = parts.filter((part) => part !== undefined);
  return others.reduce((sum, part) => sum.add(part), first!);
}

function changedProduct(x: SymbolicTensor, own: SymbolicTensor, addition: Addition): SymbolicTensor | undefined {
  const { magnitude, weightSquares, productSquares, crossProducts, strength } = addition;
  const product = scaledProduct(x, addition);
  if (!magnitude) return product;
  // The rows of W + s·P have the squared lengths W² + 2s·W·P + s²·P² (arXiv 2402.09353).
  const squares = weightSquares!
    .add(crossProducts!.mul(strength).mul(2))
    .add(productSquares!.mul(strength).mul(strength));
  return own.add(product!).mul(magnitude.div(squares.sqrt())).sub(own);
}

function scaledProduct(x: SymbolicTensor, { down, up, left, right, strength }: Addition): SymbolicTensor | undefined {
  if (down && up) return gemm(gemm(x, down).mul(strength), up);
  return left && right && kroneckerProduct(x, left, right).mul(strength);
}

/** x · (left ⊗ right)ᵀ: x as a matrix between the two, so that the large product is never written out. */
function kroneckerProduct(x: SymbolicTensor, left: SymbolicTensor, right: SymbolicTensor): SymbolicTensor {
  const out = [...x.shape.slice(0, -1), left.dim(0) * right.dim(0)];
  const parts = gemm(x.reshape([-1, left.dim(1), right.dim(1)]), right);
  return gemm(parts.transpose([0, 2, 1]), left)
    .transpose([0, 2, 1])
    .reshape(out);
}
