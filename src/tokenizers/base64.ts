/** Base64, which definitions of tokenizers hold bytes in. */

/** As `fromBase64` reads it. */
export function toBase64(bytes: Uint8Array): string {
  let binary = '';
  // More arguments than this overflow the stack.
  for (let at = 0; at < bytes.length; at += 1 << 14)
    binary += String.fromCharCode(...bytes.subarray(at, at + (1 << 14)));
  return btoa(binary);
}

/** The bytes; none if the text is no base64. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}
