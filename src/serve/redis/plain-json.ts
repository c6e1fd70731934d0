/** Tasks, events and results as text: JSON, in which bytes are base64. */

export function toJson(value: unknown): string {
  return JSON.stringify(value, (_, part) =>
    part instanceof Uint8Array ? { $bytes: Buffer.from(part).toString('base64') } : part,
  );
}

export function fromJson(text: string): unknown {
  return JSON.parse(text, (_, part) => {
    const bytes = (part as { $bytes?: unknown } | null)?.$bytes;
    return typeof bytes === 'string' ? new Uint8Array(Buffer.from(bytes, 'base64')) : part;
  });
}
