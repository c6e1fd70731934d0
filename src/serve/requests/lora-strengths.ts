/** Which LoRAs a request wants, in the forms in which clients write it. */
import { quote } from '../../errors/printable.ts';
import { Problem } from '../http/problem.ts';
import type { Loras, Strengths } from '../loras.ts';

/**
 * @param value strengths by name, or one LoRA, or a list of them, as `{ name, scale }`
 * @throws Problem for another form; DejaDitError NOT_FOUND for a LoRA that the server does not have
 */
export function loraStrengths(value: unknown, loras: Loras): Strengths {
  const wrong = new Problem(400, `expected strengths by name, as {"style": 0.8}, got ${quote(value)}`, {
    param: 'loras',
  });
  if (typeof value !== 'object' || value === null) throw wrong;
  const one = (item: unknown): [string, number] => {
    const { name, scale = 1, strength = scale } = (item ?? {}) as Record<string, unknown>;
    if (typeof name !== 'string' || typeof strength !== 'number') throw wrong;
    return [loras.require(name), strength];
  };
  if (Array.isArray(value)) return Object.fromEntries(value.map(one));
  if (typeof (value as { name?: unknown }).name === 'string') return Object.fromEntries([one(value)]);
  return Object.fromEntries(Object.entries(value).map(([name, strength]) => one({ name, strength })));
}

/** `<lora:name:0.8>` in a prompt, as A1111's clients write it: the rest of the prompt, and strengths by name. */
export function lorasInPrompt(prompt: string, loras: Loras): { prompt: string; strengths: Strengths } {
  const strengths: Record<string, number> = {};
  const rest = prompt.replace(
    /<lora:([^:<>]+)(?::([^:<>]*))?(?::[^<>]*)?>/g,
    (tag: string, name: string, scale?: string) => {
      const strength = scale === undefined ? 1 : Number(scale);
      if (scale?.trim() === '' || !Number.isFinite(strength))
        throw new Problem(422, `${tag} has no number for its strength`, { param: 'prompt' });
      strengths[loras.require(name.trim(), 'prompt')] = strength;
      return '';
    },
  );
  return { prompt: Object.keys(strengths).length > 0 ? rest.replace(/ {2,}/g, ' ').trim() : prompt, strengths };
}
