/**
 * A place in a model: a module path with access to the weights under it. Layers are functions `(module, tensors…) → tensor`;
 * there are no layer objects, since nothing is kept between graphs.
 */
import { DejaDitError } from '../errors/errors.ts';
import type { GraphBuilder } from '../graph/builder.ts';
import { concat, gather } from '../graph/ops.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import type { LowBitProduct } from '../runtime/backend.ts';
import { type Shape, sizeOf } from '../tensor/tensor.ts';
import { partName } from '../weights/formats/weight-format.ts';
import type { AdditionPart, LoraSelection } from '../weights/lora/lora-weights.ts';
import type { WeightInfo } from '../weights/weight-info.ts';
import type { Weights } from '../weights/weight-store.ts';
import type { QuantizedWeight } from './quantized-linear.ts';

/** What graphs may know of weights: names, dtypes and shapes, but no data. */
export interface WeightCatalog extends Pick<Weights, 'origin' | 'has' | 'info' | 'observer'> {
  /** How the backend multiplies codes in blocks. Default: widened. */
  readonly lowBitProduct?: LowBitProduct | undefined;
  /** Those that the graph is built for. */
  readonly loras?: LoraSelection | undefined;
  /** Is told of every weight whether a linear layer multiplies with it, or its rows are looked up. */
  readonly onUse?: ((weight: string, use: 'product' | 'rows') => void) | undefined;
}

/** Rows of activations that a calibration sees, at most. */
const observedRows = 32;

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

  /** Whether the checkpoint has this weight: for tensors that go by several names, never for whether a layer has them. */
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
    return this.widen(full, this.stored(full, info), info);
  }

  /**
   * A weight that checkpoints hold with more or fewer axes of size 1, in the shape that is asked for.
   * @throws DejaDitError as `weight`
   */
  reshaped(name: string, shape: Shape): SymbolicTensor {
    const stored = this.catalog.info(this.full(name), undefined)?.shape;
    const weight = this.weight(name, stored && sizeOf(stored) === sizeOf(shape) ? stored : shape);
    return weight.reshape(shape);
  }

  /** The parts of a weight that is stored quantised; undefined if it is stored as numbers. */
  quantized(name: string, shape?: Shape): QuantizedWeight | undefined {
    const { full, info } = this.find(name, shape);
    this.catalog.onUse?.(full, 'product');
    const { format } = info;
    if (!format) return undefined;
    return {
      format,
      shape: info.shape,
      product: this.catalog.lowBitProduct ?? 'widened',
      part: (part) => {
        const stored = partName(full, part);
        return this.stored(stored, this.catalog.info(stored)!);
      },
    };
  }

  /** What LoRAs add to a weight, each with the factor that it is multiplied with. */
  additions(name: string): (Partial<Record<AdditionPart, SymbolicTensor>> & { strength: SymbolicTensor })[] {
    const { loras } = this.catalog;
    return (loras?.additions(this.full(name)) ?? []).map(({ tensors, strength }) => ({
      ...Object.fromEntries(
        Object.entries(tensors).map(([part, tensor]) => [part, this.stored(tensor, loras!.weights.get(tensor)!)]),
      ),
      strength: this.graph.input(strength, 'float32', []),
    }));
  }

  /** While somebody calibrates: hands over what is multiplied with a weight, see `Weights.observer`. */
  observe(name: string, x: SymbolicTensor): void {
    if (!this.catalog.observer) return;
    const rows = x.reshape([-1, x.dim(-1)]);
    const stride = Math.ceil(rows.dim(0) / observedRows);
    const picked = Array.from({ length: Math.ceil(rows.dim(0) / stride) }, (_, i) => i * stride);
    const peaks = rows.abs().max(0);
    this.graph.output(`observed.${this.full(name)}`, concat([peaks, gather(rows, this.graph.integers(picked))], 0));
  }

  /**
   * Rows of a table [rows, width] picked by integer `indices` [n, …], which gives [n, …, width] in float32. Only these rows are widened,
   * so that a vocabulary kept in half precision stays that small.
   */
  rows(name: string, indices: SymbolicTensor, shape?: Shape): SymbolicTensor {
    const { full, info } = this.find(name, shape);
    this.catalog.onUse?.(full, 'rows');
    if (this.catalog.loras?.additions(full).length) {
      throw new DejaDitError('UNSUPPORTED', `a LoRA is for '${full}', which is a lookup table and no linear layer`, {
        path: this.catalog.origin,
      });
    }
    return this.widen(full, gather(this.stored(full, info), indices), info);
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

  /** bfloat16 and float8 cannot be graph inputs: their bits come in as integers and are re-read inside the graph. */
  private stored(name: string, { dtype, shape }: WeightInfo): SymbolicTensor {
    const carrier = dtype === 'bfloat16' ? 'uint16' : dtype === 'float8_e4m3fn' ? 'uint8' : dtype;
    return this.graph.weight(name, { dtype: carrier, shape });
  }

  private widen(name: string, stored: SymbolicTensor, { dtype, format }: WeightInfo): SymbolicTensor {
    if (format) {
      throw new DejaDitError(
        'UNSUPPORTED',
        `tensor '${name}' is quantised, but this layer is no linear layer: add its name to excludeLayers`,
        { path: this.catalog.origin },
      );
    }
    switch (dtype) {
      case 'float32':
        return stored;
      case 'float64':
      case 'float16':
        return stored.cast('float32');
      case 'bfloat16':
        return stored.bitCast('bfloat16').cast('float32');
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
