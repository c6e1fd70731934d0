/**
 * A session that lives as long as the program it was made for and every tensor that it has made on a device: freeing or touching such a
 * tensor after its session ends the process (seen with ONNX Runtime 1.30 and WebGPU).
 */
import type { InferenceSession } from 'onnxruntime-common';
import type { Call } from './tensor-memory.ts';

export class SharedSession {
  private holders = 1;

  constructor(
    readonly session: InferenceSession,
    private readonly call: Call,
  ) {}

  hold(): void {
    this.holders++;
  }

  /** Releases the session when nobody holds it any more. */
  async drop(): Promise<void> {
    if (--this.holders === 0) await this.call(() => this.session.release());
  }
}
