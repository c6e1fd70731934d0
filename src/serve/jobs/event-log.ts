/** The events of one job, for any number of readers: each gets all of them from where it asks, those to come included. */
import type { JobEvent } from './job.ts';

export interface NumberedEvent {
  /** From 0, without gaps save for previews that newer ones replaced. */
  id: number;
  event: JobEvent;
}

export class EventLog {
  private readonly events: NumberedEvent[] = [];
  private count = 0;
  private ended = false;
  private readonly readers = new Set<() => void>();

  push(event: JobEvent): void {
    // Of the previews, which are large, the last is enough for whoever comes late.
    if (event.type === 'preview') {
      const older = this.events.findIndex(({ event: { type } }) => type === 'preview');
      if (older >= 0) this.events.splice(older, 1);
    }
    this.events.push({ id: this.count++, event });
    this.wake();
  }

  /** No more events come: readers end after the last. */
  end(): void {
    this.ended = true;
    this.wake();
  }

  /**
   * @param from number of the first event
   * @param signal ends the reading, without an error
   */
  async *read({ from = 0, signal }: { from?: number; signal?: AbortSignal } = {}): AsyncGenerator<NumberedEvent> {
    let next = from;
    while (!signal?.aborted) {
      const found = this.events.find(({ id }) => id >= next);
      if (found) {
        next = found.id + 1;
        yield found;
      } else if (this.ended) return;
      else await this.change(signal);
    }
  }

  private change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.readers.delete(done);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      this.readers.add(done);
      signal?.addEventListener('abort', done);
    });
  }

  private wake(): void {
    for (const reader of [...this.readers]) reader();
  }
}
