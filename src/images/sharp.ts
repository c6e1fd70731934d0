/** The image library, loaded on first use because start-up should not pay for it. */
export async function loadSharp(): Promise<typeof import('sharp')['default']> {
  return (await import('sharp')).default;
}
