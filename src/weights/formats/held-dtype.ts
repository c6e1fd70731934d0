/** Floating-point weights in the type that they are held in on a backend, where that is not the one in their files. */
import { DejaDitError } from '../../errors/errors.ts';
import { fromFloat32, toFloat32 } from '../../tensor/convert.ts';
import { bytesPerElement } from '../../tensor/dtype.ts';
import { sizeOf, Tensor } from '../../tensor/tensor.ts';
import { derivedSource, isPart, type WeightSource } from '../weight-source.ts';

export type HeldDtype = 'float32' | 'float16';

const convertible: readonly string[] = ['float32', 'float16', 'bfloat16', 'float8_e4m3fn'];

/** The largest number of float16. */
const largest = 65504;

/**
 * @param dtypeOf a weight's type on the backend; undefined: as its file has it
 * @param origin file or folder, for error messages
 */
export function inHeldDtypes(
  source: WeightSource,
  dtypeOf: (name: string) => HeldDtype | undefined,
  origin: string,
): WeightSource {
  const held = (name: string): HeldDtype | undefined => {
    const { dtype, encoded } = source.info(name);
    if (isPart(source, name) || encoded || !convertible.includes(dtype)) return undefined;
    const wanted = dtypeOf(name);
    return wanted === dtype ? undefined : wanted;
  };
  const converted = (name: string, tensor: Tensor): Tensor => {
    const dtype = held(name);
    return dtype ? convert(tensor, { name, dtype, origin }) : tensor;
  };
  return derivedSource(source, {
    info(name) {
      const info = source.info(name);
      const dtype = held(name);
      return dtype ? { ...info, dtype, bytes: sizeOf(info.shape) * bytesPerElement(dtype) } : info;
    },
    async read(name, options) {
      return converted(name, await source.read(name, held(name) ? {} : options));
    },
    async readPart(name, selection, options) {
      return converted(name, await source.readPart(name, selection, held(name) ? {} : options));
    },
    async readInto(name, target) {
      if (!held(name)) return source.readInto(name, target);
      const { buffer, byteOffset, byteLength } = converted(name, await source.read(name)).data;
      target.set(new Uint8Array(buffer, byteOffset, byteLength));
    },
    async readMany(names, onTensor, options) {
      const all = [...new Set(names)];
      const { widen: _, ...asStored } = options ?? {};
      await source.readMany(
        all.filter((name) => held(name)),
        (name, tensor) => onTensor(name, converted(name, tensor)),
        asStored,
      );
      const others = all.filter((name) => !held(name));
      await source.readMany(others, onTensor, options);
    },
  });
}

/** @throws DejaDitError UNSUPPORTED for numbers that float16 does not hold */
function convert(
  { dtype, data, shape }: Tensor,
  { name, dtype: wanted, origin }: { name: string; dtype: HeldDtype; origin: string },
): Tensor {
  const values = toFloat32(dtype, data);
  if (wanted === 'float16') {
    const beyond = values.find((value) => Math.abs(value) > largest);
    if (beyond !== undefined)
      throw new DejaDitError(
        'UNSUPPORTED',
        `tensor '${name}' holds ${beyond}, which is beyond float16; load with computeDtype: 'float32'`,
        { path: origin },
      );
  }
  return new Tensor(wanted, fromFloat32(wanted, values), shape);
}
