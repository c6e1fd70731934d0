/** Loads onnxruntime-node, the one place that does. It is an optional dependency: `wasm` serves where it is missing. */
import { DejaDitError } from '../../errors/errors.ts';
import { disableTelemetry } from '../telemetry.ts';

/** @throws DejaDitError UNSUPPORTED where it is not installed, or has no binary that loads here */
export async function loadOrtNode(): Promise<typeof import('onnxruntime-node')> {
  disableTelemetry();
  try {
    const module = await import('onnxruntime-node');
    return module.default ?? module;
  } catch (cause) {
    const reason = (cause as Error).message.split('\n')[0];
    throw new DejaDitError(
      'UNSUPPORTED',
      `onnxruntime-node does not load on ${process.platform}-${process.arch} (${reason}); the 'wasm' backend runs without it`,
      { cause },
    );
  }
}
