/** Test support: what an action warns of. */
import { setWarningHandler } from '../../errors/warnings.ts';

/** All warnings during an action, one per line. */
export async function warningsOf(action: () => Promise<unknown>): Promise<string> {
  const warnings: string[] = [];
  const previous = setWarningHandler((message) => warnings.push(message));
  try {
    await action();
  } finally {
    setWarningHandler(previous);
  }
  return warnings.join('\n');
}
