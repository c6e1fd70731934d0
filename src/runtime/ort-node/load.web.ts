/** A page has no native code. */

/** Nothing to load. */
export async function loadOrtNode(): Promise<never> {
  throw new Error('a page has no native code');
}
