/** What a fitted LoRA comes to beside one model: tensors for its programs, and for DoRA the lengths of the model's own rows. */
import type { GraphModel } from '../../models/graph-model.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { backendProducts } from '../../quantize/backend-products.ts';
import { decode } from '../../quantize/formats/encode.ts';
import { kronecker, type Matrix, matrixOf } from '../../tensor/linear-algebra/matrix.ts';
import { dims, floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { storedTensor } from '../../weights/formats/held-parts.ts';
import { partName, partsOf } from '../../weights/formats/weight-format.ts';
import type { FittedLayer } from '../../weights/lora/fit-lora.ts';
import type { Product } from '../../weights/lora/lora-layer.ts';
import type { Addition } from '../../weights/lora/lora-weights.ts';

type Model = TransformerModel | GraphModel;

/** @returns by weight */
export async function additionsFor(
  model: Model,
  layers: ReadonlyMap<string, FittedLayer>,
): Promise<Map<string, Addition>> {
  const additions = new Map<string, Addition>();
  for (const [weight, { product, bias, magnitude }] of layers) {
    additions.set(weight, {
      ...(product ? tensorsOf(product) : {}),
      ...(bias ? { bias: floatTensor(bias) } : {}),
      ...(product && magnitude
        ? { magnitude: floatTensor(magnitude), ...(await lengths(model, weight, product)) }
        : {}),
    });
  }
  return additions;
}

function tensorsOf(product: Product): Addition {
  const tensorOf = ({ data, rows, columns }: Matrix) => floatTensor(data, [rows, columns]);
  return product.kind === 'low-rank'
    ? { down: tensorOf(product.down), up: tensorOf(product.up) }
    : { left: tensorOf(product.left), right: tensorOf(product.right) };
}

async function lengths(model: Model, weight: string, product: Product): Promise<Addition> {
  const own = await ownMatrix(model, weight);
  const added =
    product.kind === 'low-rank'
      ? await backendProducts(model.programs).times(product.up, product.down)
      : kronecker(product.left, product.right);
  return {
    weightSquares: rowProducts(own, own),
    productSquares: rowProducts(added, added),
    crossProducts: rowProducts(own, added),
  };
}

/** A weight of the model as numbers, however it is held. */
async function ownMatrix({ weights, programs }: Model, weight: string): Promise<Matrix> {
  const { backend } = programs;
  const bucket = weights.offloaded?.bucketOf(weight);
  const lease = bucket === undefined ? undefined : await weights.offloaded!.acquire(bucket);
  try {
    const download = async (name: string) => backend.download((lease ?? weights).get(name));
    const { format, shape } = weights.info(weight)!;
    if (!format) return matrixOf((await download(weight)).float());
    const formats = { get: (name: string) => weights.info(name) };
    const parts: Record<string, Tensor> = {};
    for (const part of Object.keys(partsOf(format, shape))) {
      const name = partName(weight, part);
      parts[part] = storedTensor({ name, tensor: await download(name), formats });
    }
    return await decode(parts, format, { columns: dims({ shape }, 2)[1], products: backendProducts(programs) });
  } finally {
    lease?.release();
  }
}

/** The products of the rows of two matrices, [rows]. */
function rowProducts(a: Matrix, b: Matrix): Tensor {
  return floatTensor(
    Float32Array.from({ length: a.rows }, (_, row) => {
      let sum = 0;
      for (let i = row * a.columns; i < (row + 1) * a.columns; i++) sum += a.data[i]! * b.data[i]!;
      return sum;
    }),
  );
}
