/** Prompts as Wan was trained on them: repaired, character references resolved, runs of white space made one space. */
import { cleanLightly } from '../texts/clean-caption.ts';

export function cleanPrompt(prompt: string): string {
  return cleanLightly(prompt).replace(/\s+/g, ' ');
}
