/** A backend that adds up the time spent inside it, the work of the graphs it runs, and what is brought to it and back. */
import type { Graph } from '../graph/graph.ts';
import type { DeviceTensor, Executable } from '../runtime/backend.ts';
import { WrappedBackend } from '../runtime/wrapped-backend.ts';
import type { Tensor } from '../tensor/tensor.ts';

export class TimedBackend extends WrappedBackend {
  /** Milliseconds inside runs since the last `reset`, and waiting for what they make: a GPU's are over when they have begun. */
  runTime = 0;
  /** Milliseconds that all cores together computed in runs: what other processes disturb less. */
  processorTime = 0;
  flops = 0;
  /** Bytes. */
  transferred = 0;

  reset(): void {
    this.runTime = 0;
    this.processorTime = 0;
    this.flops = 0;
    this.transferred = 0;
  }

  override upload(tensor: Tensor, options?: { transfer?: boolean }): DeviceTensor {
    this.transferred += tensor.data.byteLength;
    return super.upload(tensor, options);
  }

  override async download(tensor: DeviceTensor, options?: { copy?: boolean }): Promise<Tensor> {
    const start = performance.now();
    const downloaded = await super.download(tensor, options);
    this.runTime += performance.now() - start;
    this.transferred += downloaded.data.byteLength;
    return downloaded;
  }

  override async compile(graph: Graph): Promise<Executable> {
    const executable = await this.inner.compile(graph);
    return {
      run: async (inputs) => {
        const [start, used] = [performance.now(), process.cpuUsage()];
        const outputs = await executable.run(inputs);
        this.runTime += performance.now() - start;
        const { user, system } = process.cpuUsage(used);
        this.processorTime += (user + system) / 1000;
        this.flops += graph.flops;
        return outputs;
      },
      dispose: () => executable.dispose(),
    };
  }
}
