/** How fast a backend multiplies matrices. */
import { GraphBuilder } from '../../graph/builder.ts';
import { gemm } from '../../graph/ops.ts';
import type { ComputeDtype } from '../../models/compute-dtype.ts';
import { takeDown } from '../../runtime/host-tensors.ts';
import { disposeTensors } from '../../runtime/tensor-table.ts';
import { fromFloat32 } from '../../tensor/convert.ts';
import { Generator } from '../../tensor/generator.ts';
import { type Shape, Tensor } from '../../tensor/tensor.ts';
import { median } from '../median.ts';
import type { TimedBackend } from '../timed-backend.ts';

/** GFLOP/s of [tokens, width] · [width, 4·width], the largest product of a block. */
export async function timeGemm(
  backend: TimedBackend,
  { tokens, width, dtype, runs = 20 }: { tokens: number; width: number; dtype: ComputeDtype; runs?: number },
): Promise<number> {
  const g = new GraphBuilder();
  const x = g.input('x', dtype, [tokens, width]);
  const y = gemm(x, g.weight('w', { dtype, shape: [4 * width, width] }));
  // One number of it, which is waited for.
  g.output('y', y.slice(0, 0, 1).slice(1, 0, 1));
  const executable = await backend.compile(g.finish());
  const generator = new Generator(2);
  const random = (shape: Shape) =>
    backend.upload(new Tensor(dtype, fromFloat32(dtype, generator.randn(shape).f32), shape));
  const inputs = { x: random([tokens, width]), w0: random([4 * width, width]) };
  const rates: number[] = [];
  for (let i = 0; i < runs; i++) {
    backend.reset();
    await takeDown(backend, await executable.run(inputs));
    rates.push(backend.flops / backend.runTime / 1e6);
  }
  disposeTensors(inputs);
  await executable.dispose();
  return median(rates);
}
