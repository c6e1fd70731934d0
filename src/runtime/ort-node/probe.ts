/** Tries the execution providers of native ONNX Runtime with a one-operator graph. */
import { GraphBuilder } from '../../graph/builder.ts';
import { encodeOnnx } from '../../graph/encode.ts';
import { loadOrtNode } from './load.ts';

export interface ProbeResult {
  works: boolean;
  /** Why it does not work. */
  reason?: string;
}

/** Whether a provider (`cpu`, `webgpu`, `cuda`, …) can run anything here. */
export async function probeProvider(provider: string): Promise<ProbeResult> {
  try {
    const ort = await loadOrtNode();
    const g = new GraphBuilder();
    g.output('y', g.input('x', 'float32', [2]).add(1));
    const session = await ort.InferenceSession.create(encodeOnnx(g.finish(), { nodeNames: false }), {
      executionProviders: [provider],
      logSeverityLevel: 4,
    });
    const results = await session.run({ x: new ort.Tensor('float32', Float32Array.of(1, 2), [2]) });
    await session.release();
    const data = Object.values(results)[0]!.data as Float32Array;
    return data[1] === 3 ? { works: true } : { works: false, reason: `1 + 2 gave ${data[1]}` };
  } catch (error) {
    return { works: false, reason: reasonOf(error as Error) };
  }
}

/** What is said to people: ONNX Runtime puts the place in its sources and the condition that failed before it. */
function reasonOf({ message }: Error): string {
  return message.split('\n')[0]!.replace(/^\/\S+onnxruntime\S*\/.* was false\. /, '');
}
