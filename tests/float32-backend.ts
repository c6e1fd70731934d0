/** Test support: a backend that does not tell that it computes in float16, so that this is not the default. */
import type { BackendCapabilities } from '../src/runtime/backend.ts';
import { WrappedBackend } from '../src/runtime/wrapped-backend.ts';

export class Float32Backend extends WrappedBackend {
  override get capabilities(): BackendCapabilities {
    return { ...this.inner.capabilities, float16: false };
  }
}
