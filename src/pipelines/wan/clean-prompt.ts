/** Prompts as Wan was trained on them: character references resolved, runs of white space made one space. */

const named: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' };

/** Resolves references twice, since scraped captions are often escaped twice; of the named ones those that occur in running text. */
export function cleanPrompt(prompt: string): string {
  return resolved(resolved(prompt)).replace(/\s+/g, ' ').trim();
}

function resolved(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w+));/gi, (reference, decimal, hex, name) => {
    if (name !== undefined) return named[name] ?? reference;
    const code = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    const isCharacter = code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code < 0xe000);
    return isCharacter ? String.fromCodePoint(code) : reference;
  });
}
