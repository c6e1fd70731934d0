/**
 * Gives an array's memory back now. The garbage collector would in its own time, which in a thread that waits for work is never: it is
 * detached by sending it to a port that nobody listens on.
 */
let nowhere: InstanceType<typeof MessagePort> | undefined;

/** @param data afterwards empty, as are all views of its buffer */
export function freeMemory(data: ArrayBufferView): void {
  // What is shared between threads, or belongs to a WebAssembly heap, cannot be detached.
  if (!(data.buffer instanceof ArrayBuffer)) return;
  if (!nowhere) {
    const { port1, port2 } = new MessageChannel();
    port2.close();
    nowhere = port1;
  }
  nowhere.postMessage(undefined, [data.buffer]);
}
