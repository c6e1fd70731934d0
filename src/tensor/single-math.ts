/**
 * Logarithm, sine and cosine in single precision, from the polynomials of the Cephes library (S. Moshier), with every
 * multiply-add fused: PyTorch's vectorised normals are made of exactly these roundings, so `Math.log` and its like,
 * being more accurate, would give other bits in one value out of five.
 */
const { fround } = Math;

/** a * b + c with one rounding. The product is exact in double precision, which leaves the sum's rounding to float32. */
function fma(a: number, b: number, c: number): number {
  return fround(a * b + c);
}

const logTerms = Float32Array.of(
  7.0376836292e-2,
  -1.151461031e-1,
  1.167699874e-1,
  -1.2420140846e-1,
  1.4249322787e-1,
  -1.6668057665e-1,
  2.0000714765e-1,
  -2.4999993993e-1,
  3.3333331174e-1,
);
const sqrtHalf = fround(Math.SQRT1_2);
// ln 2 = 0.693359375 - 2.12194440e-4, in two parts so that the larger times an exponent is exact.
const ln2High = 0.693359375;
const ln2Low = fround(-2.1219444e-4);

const single = new Float32Array(1);
const singleBits = new Int32Array(single.buffer);

/** Natural logarithm of a positive, normal float32. */
export function logSingle(value: number): number {
  // value = m * 2^exponent with m in [sqrt(1/2), sqrt(2)), and x = m - 1.
  single[0] = value;
  const bits = singleBits[0]!;
  let exponent = (bits >> 23) - 126;
  singleBits[0] = (bits & 0x007fffff) | 0x3f000000;
  let x = single[0] - 1;
  if (single[0] < sqrtHalf) {
    exponent -= 1;
    x += single[0];
  }
  const square = fround(x * x);
  let y = logTerms[0]!;
  for (let i = 1; i < logTerms.length; i++) y = fma(y, x, logTerms[i]!);
  y = fma(fround(y * x), square, fround(exponent * ln2Low));
  y = fma(-square, 0.5, y);
  return fma(exponent, ln2High, fround(x + y));
}

const fourOverPi = fround(4 / Math.PI);
// pi / 4 in three parts, the first two short enough that small multiples of them are exact.
const quarterPi = Float32Array.of(0.78515625, 2.4187564849853516e-4, 3.774894977445941e-8);
const cosTerms = Float32Array.of(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2);
const sinTerms = Float32Array.of(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1);

/** Writes cos(angle) to `out[cosAt]` and sin(angle) to `out[sinAt]`, both times `scale`; 0 <= angle < 8192. */
export function scaledCosSin(angle: number, scale: number, out: Float32Array, cosAt: number, sinAt: number): void {
  // The octant, rounded up to even: the remainder lies within pi/4 of zero.
  const octant = (Math.trunc(fround(angle * fourOverPi)) + 1) & ~1;
  let x = fma(octant, -quarterPi[0]!, angle);
  x = fma(octant, -quarterPi[1]!, x);
  x = fma(octant, -quarterPi[2]!, x);
  const square = fround(x * x);

  let cos = fma(fma(cosTerms[0]!, square, cosTerms[1]!), square, cosTerms[2]!);
  cos = fma(fround(cos * square), square, -fround(square * 0.5));
  cos = fround(cos + 1);
  let sin = fma(fma(sinTerms[0]!, square, sinTerms[1]!), square, sinTerms[2]!);
  sin = fma(fround(sin * square), x, x);

  const swapped = (octant & 2) !== 0;
  const cosNegative = ((octant - 2) & 4) === 0;
  const sinNegative = (octant & 4) !== 0;
  out[cosAt] = scale * (cosNegative ? -(swapped ? sin : cos) : swapped ? sin : cos);
  out[sinAt] = scale * (sinNegative ? -(swapped ? cos : sin) : swapped ? cos : sin);
}
