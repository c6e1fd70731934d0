/** The attention switch of cache-dit, for configs that name one. */
import { DejaDitError, suggest } from '../../errors/errors.ts';
import { type Cacheable, getAdapter } from './block-adapter.ts';

/** Names of plain scaled-dot-product attention, which is what ONNX Runtime's one implementation computes. */
const SAME = ['native', 'sdpa', '_native_math'];

/** Other implementations that Diffusers and cache-dit know, and what they need. */
const OTHERS: Readonly<Record<string, string>> = {
  flash: 'the flash-attn package on CUDA',
  flash_varlen: 'the flash-attn package on CUDA',
  _flash_3: 'Hopper GPUs',
  _native_cudnn: 'cuDNN',
  _sdpa_cudnn: 'cuDNN',
  _native_efficient: 'CUDA',
  _native_flash: 'CUDA',
  _native_npu: 'Ascend NPUs',
  _npu_fia: 'Ascend NPUs',
  sage: 'the SageAttention package on CUDA, and it rounds to 8 bits',
  sage3: 'the SageAttention package on CUDA, and it rounds to 4 bits',
  xformers: 'the xformers package on CUDA',
};

/**
 * Chooses the attention implementation. ONNX Runtime has one, which computes what `native` and `sdpa` name: these change nothing,
 * every other name is refused, so that no config silently does something else than it says.
 * @throws DejaDitError UNSUPPORTED with the reason; INVALID_ARGUMENT for an unknown name
 * @example
 * setAttnBackend(pipe, 'sdpa'); // what is used anyway; 'flash' would be refused
 */
export function setAttnBackend(target: Cacheable, name: string | null | undefined): void {
  getAdapter(target);
  if (name === null || name === undefined || SAME.includes(name)) return;
  const needs = OTHERS[name];
  if (needs !== undefined) {
    throw new DejaDitError(
      'UNSUPPORTED',
      `'${name}' needs ${needs}; models run on ONNX Runtime, whose attention is 'native'`,
      {
        path: 'attentionBackend',
      },
    );
  }
  const hint = suggest(name, [...SAME, ...Object.keys(OTHERS)]);
  throw new DejaDitError('INVALID_ARGUMENT', `unknown attention '${name}'; ${hint}`, { path: 'attentionBackend' });
}
