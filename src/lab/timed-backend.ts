/** A backend that adds up the time spent inside it, and the work of the graphs it runs. */
import type { Graph } from '../graph/graph.ts';
import type { Executable } from '../runtime/backend.ts';
import { WrappedBackend } from '../runtime/wrapped-backend.ts';

export class TimedBackend extends WrappedBackend {
  /** Milliseconds inside runs since the last `reset`. */
  runTime = 0;
  flops = 0;

  reset(): void {
    this.runTime = 0;
    this.flops = 0;
  }

  override async compile(graph: Graph): Promise<Executable> {
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
}
