/** What PEFT's configurations say of the scales of an adapter's layers, beside the tensors. */
import * as z from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';

/** By layers: ends of their paths, or with ^ whole paths. */
const pattern = z.record(z.string().regex(/^\^?[\w.]+$/), z.number()).nullish();

/** What decides about scales in PEFT's `LoraConfig`. */
const schema = z.object({
  lora_alpha: z.number(),
  alpha_pattern: pattern,
  use_rslora: z.boolean().nullish(),
  use_dora: z.boolean().nullish(),
  use_qalora: z.literal(false).nullish(),
  use_bdlora: z.null().optional(),
});

/** The same in `LoKrConfig` and `LoHaConfig`: there the rank counts that was asked for, also where a factor is whole. */
const productSchema = z
  .object({ alpha: z.number(), alpha_pattern: pattern, r: z.number().positive(), rank_pattern: pattern })
  .transform(({ alpha, ...others }): AdapterSettings => ({ lora_alpha: alpha, ...others }));

export type AdapterSettings = z.infer<typeof schema> & {
  readonly r?: number | undefined;
  readonly rank_pattern?: z.infer<typeof pattern>;
};

/**
 * The settings of one component; undefined where none are given, so that alpha is the rank.
 * @throws DejaDitError INVALID_FILE naming the setting
 */
export function parseAdapterSettings(
  all: Record<string, unknown>,
  { component, origin }: { component: string; origin: string },
): AdapterSettings | undefined {
  const prefix = `${component}.`;
  const own = Object.entries(all).filter(([name]) => name.startsWith(prefix));
  const named =
    own.length > 0 ? Object.fromEntries(own.map(([name, value]) => [name.slice(prefix.length), value])) : all;
  const { peft_type: type } = named;
  const isProduct = type === 'LOKR' || type === 'LOHA';
  if (own.length === 0 && !isProduct && !('lora_alpha' in all)) {
    if (type === undefined) return undefined;
    const message = `adapter settings: of the kind ${quote(type)}, which is not run; LORA, LOKR and LOHA are`;
    throw new DejaDitError('UNSUPPORTED', message, { path: origin });
  }
  const result = (isProduct ? productSchema : schema).safeParse(named);
  if (result.success) return result.data;
  const { path: field, message } = result.error.issues[0]!;
  throw new DejaDitError('INVALID_FILE', `adapter settings: ${field.join('.')}: ${message}`, { path: origin });
}

/**
 * alpha / rank, or alpha / √rank of rank-stabilised LoRAs (arXiv 2312.03732).
 * @param rank as the tensors have it; undefined for whole factors
 */
export function scaleBy(
  { lora_alpha, alpha_pattern, use_rslora, r, rank_pattern }: AdapterSettings,
  { module, rank }: { module: string; rank: number | undefined },
): number {
  const alpha = ownOf(alpha_pattern, module) ?? lora_alpha;
  const divisor = r === undefined ? rank : (ownOf(rank_pattern, module) ?? r);
  if (divisor === undefined) return 1;
  return alpha / (use_rslora ? Math.sqrt(divisor) : divisor);
}

/** As in PEFT: the first that is the end of the path, or with ^ all of it. */
function ownOf(patterns: z.infer<typeof pattern>, module: string): number | undefined {
  return Object.entries(patterns ?? {}).find(([key]) =>
    key.startsWith('^') ? module === key.slice(1) : `.${module}`.endsWith(`.${key}`),
  )?.[1];
}
