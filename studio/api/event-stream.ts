/** Server-sent events over `fetch`, since EventSource sends no key; begins again where it stopped. */
import { ApiError, request } from './client.ts';

export interface StreamedEvent {
  id: string;
  data: string;
}

/**
 * The events of an address, to its end. A lost connection is taken up again after the last event that came.
 * @throws ApiError if the server refuses, as where it no longer knows what was asked for
 */
export async function* eventStream(path: string, signal: AbortSignal): AsyncGenerator<StreamedEvent> {
  let last: string | undefined;
  let pause = 250;
  while (!signal.aborted) {
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream' };
      if (last !== undefined) headers['last-event-id'] = last;
      const { body } = await request(path, { headers, signal });
      pause = 250;
      for await (const event of parse(body!)) {
        last = event.id;
        yield event;
      }
      return;
    } catch (error) {
      if (signal.aborted) return;
      // A key that is missing may yet be given; whatever else the server says is its last word.
      if (error instanceof ApiError && error.status !== 0 && error.status !== 401) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(4000, 2 * pause);
  }
}

/** Events are fields in lines, and end with an empty one. */
async function* parse(body: ReadableStream<Uint8Array>): AsyncGenerator<StreamedEvent> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = '';
  let [id, data] = ['', ''];
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const lines = (rest + decoder.decode(part.value, { stream: true })).split('\n');
      rest = lines.pop()!;
      for (const line of lines.map((text) => text.replace(/\r$/, ''))) {
        if (line.startsWith('data:')) data += line.slice(5).trimStart();
        else if (line.startsWith('id:')) id = line.slice(3).trim();
        else if (line === '' && data !== '') {
          yield { id, data };
          data = '';
        }
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
