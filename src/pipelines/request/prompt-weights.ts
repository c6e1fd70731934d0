/**
 * Weights within prompts, as ComfyUI reads them: `(word)` counts 1.1 times, `((word))` 1.21 times, `(word:1.3)` 1.3 times whatever is
 * around it; `\(` and `\)` are parentheses. What a weight does to a text's embedding is in `text-encoder.ts`.
 */

export interface WeightedText {
  text: string;
  weight: number;
}

/** The parts of a prompt, in order. Parentheses that nothing closes are text. */
export function weightedTexts(prompt: string): WeightedText[] {
  return parts(hide(prompt), 1).map(({ text, weight }) => ({ text: reveal(text), weight }));
}

/** Whether reading a prompt so is another thing than reading it as it stands. */
export function hasWeights(prompt: string): boolean {
  return /[()]/.test(prompt);
}

const opening = '\u{f0001}';
const closing = '\u{f0002}';
const hide = (text: string) => text.replaceAll('\\)', closing).replaceAll('\\(', opening);
const reveal = (text: string) => text.replaceAll(closing, ')').replaceAll(opening, '(');

const decimal = /^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\s*$/i;

function parts(text: string, weight: number): WeightedText[] {
  return groups(text).flatMap((group) => {
    if (!(group.length >= 2 && group.startsWith('(') && group.endsWith(')'))) return [{ text: group, weight }];
    const inner = group.slice(1, -1);
    const colon = inner.lastIndexOf(':');
    const own = inner.slice(colon + 1);
    if (colon > 0 && decimal.test(own)) return parts(inner.slice(0, colon), Number(own));
    return parts(inner, weight * 1.1);
  });
}

/** A text cut before and behind its outermost parentheses. */
function groups(text: string): string[] {
  const found: string[] = [];
  let [from, depth] = [0, 0];
  const cut = (to: number) => {
    if (to > from) found.push(text.slice(from, to));
    from = to;
  };
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '(' && depth++ === 0) cut(at);
    if (text[at] === ')' && --depth === 0) cut(at + 1);
  }
  cut(text.length);
  return found;
}
