/**
 * A tensor that is still in its file, in the place of one on a backend. A backend of several ranks reads for each of them what it needs; for
 * all others whoever has it reads it whole before a run.
 */
import { DejaDitError } from '../errors/errors.ts';
import type { DType } from '../tensor/dtype.ts';
import type { Selection } from '../tensor/selection.ts';
import type { Shape, Tensor } from '../tensor/tensor.ts';
import type { DeviceTensor } from './backend.ts';

export class StoredTensor implements DeviceTensor {
  private owners = 1;

  constructor(
    readonly dtype: DType,
    readonly shape: Shape,
    /** What is selected, in memory of its own. */
    readonly read: (selection: Selection) => Promise<Tensor>,
  ) {}

  retain(): DeviceTensor {
    if (this.owners === 0) throw new DejaDitError('DISPOSED', `this tensor [${this.shape}] was disposed`);
    this.owners++;
    return this;
  }

  dispose(): void {
    this.owners = Math.max(0, this.owners - 1);
  }
}
