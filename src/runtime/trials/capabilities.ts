/** What processors and GPUs can do, as trials find it. */
import { allKernels } from '../../graph/lower/lower.ts';
import type { BackendCapabilities, BackendOptions } from '../backend.ts';
import { isSignedProductExact } from './int8-product.ts';
import { checkConvolution, checkProducts, computesFloat16, isFusedAttentionRight } from './kernels.ts';
import type { Trial } from './trial.ts';

/** @param wanted the product to use; default: the faster one, unsigned activations with signed weights, where it is exact */
export async function processorCapabilities(
  backend: Trial,
  wanted: BackendOptions['int8Product'],
): Promise<BackendCapabilities> {
  const signedWeightsExact = await isSignedProductExact(backend);
  return {
    ...allKernels,
    float16: false,
    narrowFloats: true,
    wideIntegers: true,
    lowBitProduct: 'widened',
    signedWeightsExact,
    int8Product: wanted ?? (signedWeightsExact ? 'u8s8' : 'u8u8'),
  };
}

/**
 * Of ONNX Runtime's WebGPU provider.
 * @param maxBinding what the device says, where it says; default: what WebGPU guarantees
 * @param float16 false if the device says that it has none; default: a trial decides
 * @throws DejaDitError UNSUPPORTED on a device that does not compute right even with the plainest operators
 */
export async function webgpuCapabilities(
  backend: Trial,
  {
    maxBinding = 128 * 2 ** 20,
    float16 = true,
  }: { maxBinding?: number | undefined; float16?: boolean | undefined } = {},
): Promise<BackendCapabilities> {
  await checkProducts(backend);
  await checkConvolution(backend);
  return {
    fusedAttention: await isFusedAttentionRight(backend),
    float16: float16 && (await computesFloat16(backend)),
    // As its sources have it: no trial would add to that.
    narrowFloats: false,
    wideIntegers: false,
    lowBitProduct: 'nbits',
    broadcastNorm: false,
    trigonometry: false,
    integerSlice: false,
    bfloat16Casts: false,
    maxSplit: 7,
    maxBinding,
    signedWeightsExact: false,
    int8Product: 'u8u8',
  };
}
