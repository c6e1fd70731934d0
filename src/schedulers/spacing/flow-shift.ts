/** Shifts of flow-matching noise levels towards the noisy end, which larger images need. */

export interface ShiftOptions {
  /** Tokens of the image that the transformer sees. */
  imageSeqLen: number;
  /** Default 256. */
  baseSeqLen?: number;
  /** Default 4096. */
  maxSeqLen?: number;
  /** mu at `baseSeqLen`; default 0.5. */
  baseShift?: number;
  /** mu at `maxSeqLen`; default 1.15. */
  maxShift?: number;
}

/** mu for resolution-dependent shifting: linear in the number of image tokens (also beyond the two given points). */
export function calculateShift({
  imageSeqLen,
  baseSeqLen = 256,
  maxSeqLen = 4096,
  baseShift = 0.5,
  maxShift = 1.15,
}: ShiftOptions): number {
  const slope = (maxShift - baseShift) / (maxSeqLen - baseSeqLen);
  return imageSeqLen * slope + (baseShift - slope * baseSeqLen);
}

/** Rounding applied after every operation: `Math.fround` where Diffusers computes in single precision. */
export type Rounding = (x: number) => number;

/** shift * s / (1 + (shift - 1) * s): 1 stays 1, 0 stays 0, what lies between grows with `shift`. */
export function staticShift(sigma: number, shift: number, round: Rounding): number {
  return round(round(shift * sigma) / round(1 + round((shift - 1) * sigma)));
}

/** The shift that `mu` asks for: by exp(mu) (`exponential`) or by mu itself (`linear`). */
export function dynamicShift(sigma: number, mu: number, kind: 'exponential' | 'linear', round: Rounding): number {
  const strength = kind === 'exponential' ? Math.exp(mu) : mu;
  return round(round(strength) / round(round(strength) + round(round(1 / sigma) - 1)));
}

/** Stretches a schedule so that its last level becomes `terminal`, keeping 1 in place. A lone 1 is left as it is. */
export function stretchToTerminal(sigmas: Float64Array, terminal: number, round: Rounding): Float64Array {
  if (sigmas.at(-1) === 1) return sigmas;
  const scale = round(round(1 - sigmas.at(-1)!) / round(1 - terminal));
  return sigmas.map((sigma) => round(1 - round(round(1 - sigma) / scale)));
}
