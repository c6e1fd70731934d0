/** Prompts as Wan was trained on them: repaired, character references resolved, runs of white space made one space. */
import { decodeHTML } from 'entities';
import { fixText } from '../texts/fix-text.ts';

/** Resolves references twice, since scraped captions are often escaped twice. */
export function cleanPrompt(prompt: string): string {
  return decodeHTML(decodeHTML(fixText(prompt)))
    .replace(/\s+/g, ' ')
    .trim();
}
