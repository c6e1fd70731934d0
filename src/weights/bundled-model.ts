/** The model that travels with the package. */

/**
 * The folder of the bundled model (FLUX architecture, 128 px emoji, 47 MB), wherever the package is installed.
 * @example
 * const pipe = await DiffusionPipeline.fromPretrained(bundledModel());
 */
export function bundledModel(): string {
  const { pathname } = new URL('../../models/emoji-flux', import.meta.url);
  // Windows writes /C:/…
  return decodeURIComponent(pathname).replace(/^\/(?=[A-Za-z]:)/, '');
}
