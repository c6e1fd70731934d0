/** No launcher starts pages. */

export function launchedBy(): { size: number | undefined } | undefined {
  return undefined;
}
