/** What PEFT's configurations say of the scales of an adapter's layers, beside the tensors. */
import * as z from 'zod';
import { DejaDitError } from '../../errors/errors.ts';

/** What decides about scales in PEFT's `LoraConfig`. */
const schema = z.object({
  lora_alpha: z.number(),
  alpha_pattern: z.record(z.string().regex(/^\^?[\w.]+$/), z.number()).nullish(),
  use_rslora: z.boolean().nullish(),
  use_dora: z.boolean().nullish(),
  use_qalora: z.literal(false).nullish(),
  use_bdlora: z.null().optional(),
});

export type AdapterSettings = z.infer<typeof schema>;

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
  if (own.length === 0 && !('lora_alpha' in all)) {
    const { peft_type: type } = all;
    if (type === undefined) return undefined;
    throw new DejaDitError('UNSUPPORTED', `adapter settings: of the kind ${String(type)}, not LORA`, { path: origin });
  }
  const result = schema.safeParse(named);
  if (result.success) return result.data;
  const { path: field, message } = result.error.issues[0]!;
  throw new DejaDitError('INVALID_FILE', `adapter settings: ${field.join('.')}: ${message}`, { path: origin });
}

/** alpha / rank, or alpha / √rank of rank-stabilised LoRAs (arXiv 2312.03732). */
export function scaleBy(
  { lora_alpha, alpha_pattern, use_rslora }: AdapterSettings,
  { module, rank }: { module: string; rank: number },
): number {
  // As in PEFT: the first that is the end of the path, or with ^ all of it.
  const own = Object.entries(alpha_pattern ?? {}).find(([pattern]) =>
    pattern.startsWith('^') ? module === pattern.slice(1) : `.${module}`.endsWith(`.${pattern}`),
  );
  return (own?.[1] ?? lora_alpha) / (use_rslora ? Math.sqrt(rank) : rank);
}
