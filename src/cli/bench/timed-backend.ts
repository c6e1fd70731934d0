/** A backend that adds up the time spent inside it, and the work of the graphs it runs. */
import type { Graph } from '../../graph/graph.ts';
import type { Backend, DeviceTensor, Executable } from '../../runtime/backend.ts';
import type { Tensor } from '../../tensor/tensor.ts';

export class TimedBackend implements Backend {
  /** Milliseconds inside runs since the last `reset`. */
  runTime = 0;
  flops = 0;

  constructor(private readonly inner: Backend) {}

  get name(): string {
    return this.inner.name;
  }

  reset(): void {
    this.runTime = 0;
    this.flops = 0;
  }

  async compile(graph: Graph): Promise<Executable> {
    const executable = await this.inner.compile(graph);
    return {
      run: async (inputs) => {
        const start = performance.now();
        const outputs = await executable.run(inputs);
        this.runTime += performance.now() - start;
        this.flops += graph.flops;
        return outputs;
      },
      dispose: () => executable.dispose(),
    };
  }

  upload(tensor: Tensor, options?: { transfer?: boolean }): DeviceTensor {
    return this.inner.upload(tensor, options);
  }

  download(tensor: DeviceTensor): Promise<Tensor> {
    return this.inner.download(tensor);
  }

  dispose(): Promise<void> {
    return this.inner.dispose();
  }
}
