/** Products with large matrices on a model's backend, many times faster than on the host. */
import { GraphBuilder } from '../graph/builder.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import { runOnce } from '../runtime/host-tensors.ts';
import type { ProgramCache } from '../runtime/program-cache.ts';
import { type Matrix, matrixOf } from '../tensor/linear-algebra/matrix.ts';
import { floatTensor } from '../tensor/tensor.ts';
import type { Products } from './formats/low-rank.ts';

export function backendProducts(programs: ProgramCache): Products {
  const run = async (w: Matrix, x: Matrix, product: (w: SymbolicTensor, x: SymbolicTensor) => SymbolicTensor) => {
    const g = new GraphBuilder();
    const place = (name: string, { rows, columns }: Matrix) => g.input(name, 'float32', [rows, columns]);
    g.output('y', product(place('w', w), place('x', x)));
    const tensor = ({ data, rows, columns }: Matrix) => floatTensor(data, [rows, columns]);
    const { y } = await runOnce(programs, g.finish(), { inputs: { w: tensor(w), x: tensor(x) } });
    return matrixOf(y!);
  };
  return {
    times: (w, x) => run(w, x, (a, b) => a.matmul(b)),
    transposedTimes: (w, x) => run(w, x, (a, b) => a.transpose([1, 0]).matmul(b)),
  };
}
