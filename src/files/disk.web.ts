/** A page has no disk: there is nothing but what is mounted. */
import type { Files } from './files.ts';

export const disk: Files = {
  stat: async () => undefined,
  list: async () => undefined,
  open: async () => undefined,
};
