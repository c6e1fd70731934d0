/**
 * Where warnings go: one function for the whole process, so that servers can log them and tests can see them. A request also keeps
 * its own, for its result.
 */

import { printable } from './printable.ts';

export type WarningHandler = (message: string) => void;

let handler: WarningHandler = (message) => console.warn(`deja-dit: ${message}`);

/**
 * Replaces what happens with warnings (default: `console.warn`) and returns the previous handler.
 * @example
 * setWarningHandler((message) => console.error(`[warning] ${message}`));
 */
export function setWarningHandler(next: WarningHandler): WarningHandler {
  const previous = handler;
  handler = next;
  return previous;
}

/** Says something that did not go as the caller may expect: names the option, the reason and what to do. Handlers get one printable line. */
export function warn(message: string): void {
  handler(printable(message));
}

/** The warnings of one request, each once. They are shown as all others are. */
export class WarningLog {
  private readonly kept = new Set<string>();

  get messages(): string[] {
    return [...this.kept];
  }

  /** @param shown whether the same was said before, of another request: then it is only kept */
  add(message: string, { shown = false } = {}): void {
    if (!shown && !this.kept.has(message)) warn(message);
    this.kept.add(message);
  }
}
