/** Which model a command works on. */
import { fileURLToPath } from 'node:url';

/** The model that travels with the package. */
export const bundledModel = fileURLToPath(new URL('../../models/emoji-flux', import.meta.url));

export function modelPath(model: string | undefined): string {
  return model ?? bundledModel;
}
