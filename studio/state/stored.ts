/** Signals that outlive the page: in this browser, or in this tab. */
import { effect, type Signal, signal } from '@preact/signals';

export function stored<Value>(name: string, initial: Value, storage: Storage = localStorage): Signal<Value> {
  const key = `deja-dit-${name}`;
  const value = signal(read(storage, key) ?? initial);
  effect(() => {
    const text = JSON.stringify(value.value);
    try {
      storage.setItem(key, text);
    } catch {
      // Full: what is there is older, and would come back in its place.
      storage.removeItem(key);
    }
  });
  return value as Signal<Value>;
}

function read<Value>(storage: Storage, key: string): Value | undefined {
  try {
    return (JSON.parse(storage.getItem(key) ?? 'null') as Value | null) ?? undefined;
  } catch {
    return undefined;
  }
}
