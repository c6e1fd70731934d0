/** A backend that is another one, for whoever changes or watches a part of it. */
import type { Graph } from '../graph/graph.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Backend, BackendCapabilities, DeviceTensor, Executable, Live } from './backend.ts';

export class WrappedBackend implements Backend {
  constructor(protected readonly inner: Backend) {}

  get name(): string {
    return this.inner.name;
  }

  get capabilities(): BackendCapabilities {
    return this.inner.capabilities;
  }

  get live(): Readonly<Live> {
    return this.inner.live;
  }

  get closed(): boolean {
    return this.inner.closed;
  }

  compile(graph: Graph): Promise<Executable> {
    return this.inner.compile(graph);
  }

  upload(tensor: Tensor, options?: { transfer?: boolean }): DeviceTensor {
    return this.inner.upload(tensor, options);
  }

  download(tensor: DeviceTensor, options?: { copy?: boolean }): Promise<Tensor> {
    return this.inner.download(tensor, options);
  }

  dispose(): Promise<void> {
    return this.inner.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}
