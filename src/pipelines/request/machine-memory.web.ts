/** How much memory there is. */

/** What WebAssembly can address. */
const wasmMemory = 2 ** 32;

/** Bytes that a page can count on. Browsers tell the machine's memory roughly, and not all of them. */
export function machineMemory(): number {
  const { deviceMemory = 4 } = navigator as { deviceMemory?: number };
  return Math.min(wasmMemory, deviceMemory * 2 ** 30);
}
