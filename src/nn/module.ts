/**
 * A place in a model: a module path with access to the weights under it. Layers are functions `(module, tensors…) → tensor`;
 * there are no layer objects, since nothing is kept between graphs.
 */
import { DejaDitError } from '../errors/errors.ts';
import type { GraphBuilder } from '../graph/builder.ts';
import { onnxElementType } from '../graph/encode.ts';
import { gather } from '../graph/ops.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import type { DType } from '../tensor/dtype.ts';
import type { Shape } from '../tensor/tensor.ts';
import type { Weights } from '../weights/weight-store.ts';

export interface WeightInfo {
  /** As it is fed to graphs, which may be narrower than what layers compute in. */
  readonly dtype: DType;
  readonly shape: Shape;
}

/** What graphs may know of weights: names, dtypes and shapes, but no data. */
export type WeightCatalog = Pick<Weights, 'origin' | 'has' | 'info'>;

export class Module {
  constructor(
    readonly graph: GraphBuilder,
    readonly catalog: WeightCatalog,
    readonly path = '',
  ) {}

  /** The submodule `name`, which may contain dots: `m.at('attn.to_q')`. */
  at(name: string | number): Module {
    return new Module(this.graph, this.catalog, this.path === '' ? String(name) : `${this.path}.${name}`);
  }

  /** Whether the checkpoint has this weight. */
  has(name: string): boolean {
    return this.catalog.has(this.full(name));
  }

  /**
   * A weight of this module in float32.
   * @param shape what the architecture expects
   * @throws DejaDitError MISSING_WEIGHT, or SHAPE_MISMATCH that names file and tensor
   */
  weight(name: string, shape?: Shape): SymbolicTensor {
    const { full, info } = this.find(name, shape);
    return this.widen(full, this.stored(full, info), info.dtype);
  }

  /**
   * Rows of a table [rows, width] picked by integer `indices` [...]: [..., width] in float32. Only these rows are widened,
   * so that a vocabulary kept in half precision stays that small.
   */
  rows(name: string, indices: SymbolicTensor, shape?: Shape): SymbolicTensor {
    const { full, info } = this.find(name, shape);
    return this.widen(full, gather(this.stored(full, info), indices), info.dtype);
  }

  /** A weight if the checkpoint has it: biases and affine norms are optional in many layers. */
  optionalWeight(name: string, shape?: Shape): SymbolicTensor | undefined {
    return this.has(name) ? this.weight(name, shape) : undefined;
  }

  private full(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`;
  }

  private find(name: string, shape: Shape | undefined): { full: string; info: WeightInfo } {
    const full = this.full(name);
    const info = this.catalog.info(full, shape);
    if (!info) {
      throw new DejaDitError('MISSING_WEIGHT', `the checkpoint has no tensor '${full}', which this model needs`, {
        path: this.catalog.origin,
      });
    }
    if (shape && (shape.length !== info.shape.length || shape.some((dim, i) => dim !== info.shape[i]))) {
      throw new DejaDitError(
        'SHAPE_MISMATCH',
        `tensor '${full}' has shape [${info.shape}], this model needs [${shape}]`,
        { path: this.catalog.origin },
      );
    }
    return { full, info };
  }

  /** bfloat16 cannot be a graph input: its bits come in as uint16 and are re-read inside the graph. */
  private stored(name: string, { dtype, shape }: WeightInfo): SymbolicTensor {
    return this.graph.weight(name, { dtype: dtype === 'bfloat16' ? 'uint16' : dtype, shape });
  }

  private widen(name: string, stored: SymbolicTensor, dtype: DType): SymbolicTensor {
    switch (dtype) {
      case 'float32':
        return stored;
      case 'float16':
        return stored.cast('float32');
      case 'bfloat16': {
        const narrow = this.graph.emit(
          'BitCast',
          { dtype, shape: stored.shape },
          { inputs: [stored], attributes: { to: onnxElementType(dtype) } },
        );
        return narrow.cast('float32');
      }
      default:
        throw new DejaDitError('UNSUPPORTED', `tensor '${name}' is ${dtype}, layers need a floating-point weight`, {
          path: this.catalog.origin,
        });
    }
  }
}

/** Makes a layer from a function: everything it emits, and every error it throws, carries the module's path. */
export function layer<Arguments extends unknown[], Result>(
  build: (m: Module, ...rest: Arguments) => Result,
): (m: Module, ...rest: Arguments) => Result {
  return (m, ...rest) => m.graph.scope(m.path, () => build(m, ...rest));
}
