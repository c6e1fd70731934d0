/** What `deja-dit doctor` looks at, one thing after the other. */
import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import { timeGemm } from '../../lab/bench/gemm.ts';
import { TimedBackend } from '../../lab/timed-backend.ts';
import { type ComputeDtype, computeDtypes } from '../../models/compute-dtype.ts';
import { checkMpi } from '../../parallel/collective/mpi/check.ts';
import type { BackendCapabilities } from '../../runtime/backend.ts';
import { type BackendName, createBackend } from '../../runtime/create-backend.ts';
import { type ProbeResult, probeProvider } from '../../runtime/ort-node/probe.ts';

export interface Check extends ProbeResult {
  name: string;
  /** What it is for, or what it means that it works. */
  note: string;
  /** Of a backend: what trials found. */
  capabilities?: BackendCapabilities;
  /** Of a backend: GFLOP/s of a matrix product by the type that it computes in. */
  gflops?: Partial<Record<ComputeDtype, number>>;
}

const checks = {
  cpu: async () => [{ name: 'cpu', note: 'native ONNX Runtime; --backend cpu', ...(await probeBackend('cpu')) }],
  wasm: async () => [
    { name: 'wasm', note: 'WebAssembly, in Node and browsers; --backend wasm', ...(await probeBackend('wasm')) },
  ],
  webgpu: async () => [{ name: 'webgpu', note: 'the GPU; --backend webgpu', ...(await probeBackend('webgpu')) }],
  cuda: async () => [
    { name: 'cuda', note: 'seen by ONNX Runtime; no backend, see docs/gpu.md', ...(await probeProvider('cuda')) },
  ],
  sharp: async () => [
    {
      name: 'sharp',
      note: 'reads and writes PNG, JPEG, WebP',
      ...(await probe(async () => void (await import('sharp')))),
    },
  ],
  ffmpeg: async () => [
    {
      name: 'ffmpeg',
      note: 'MP4 output of video pipelines',
      ...(await probe(async () => void execFileSync('ffmpeg', ['-version'], { stdio: 'ignore' }))),
    },
  ],
  mpi: async () =>
    (await checkMpi()).map(({ flavour, launcher, works, library, reason }) => ({
      name: { openmpi: 'Open MPI', mpich: 'MPICH' }[flavour],
      works,
      note: works ? `${library} by ${launcher!.command}, two ranks spoke to each other` : 'ranks; deja-dit launch',
      reason,
    })),
} satisfies Record<string, () => Promise<Check[]>>;

export type CheckName = keyof typeof checks;

export const checkNames = Object.keys(checks) as CheckName[];

/** What talks to drivers: these print what they like, and may take their process with them. */
const native: readonly CheckName[] = ['webgpu', 'cuda'];

/** @param options.alone whether this process is there for nothing else */
export async function check(name: CheckName, { alone }: { alone: boolean }): Promise<Check[]> {
  if (alone || !native.includes(name)) return checks[name]();
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [process.argv[1]!, 'doctor', '--only', name]);
    return (JSON.parse(stdout) as { checks: Check[] }).checks;
  } catch (error) {
    const { signal, code, stderr = '' } = error as { signal?: string; code?: number; stderr?: string };
    const last = stderr.trim().split('\n').at(-1);
    const reason = `the process that looked for it ended with ${signal ?? code}${last && `: ${last}`}`;
    return [{ name, note: '', works: false, reason }];
  }
}

/** Creating a backend runs products on it. */
async function probeBackend(name: BackendName): Promise<Pick<Check, 'works' | 'reason' | 'capabilities' | 'gflops'>> {
  let found: Pick<Check, 'capabilities' | 'gflops'> = {};
  const result = await probe(async () => {
    await using backend = new TimedBackend(await createBackend({ backend: name }));
    const { capabilities } = backend;
    const gflops: Check['gflops'] = {};
    for (const dtype of computeDtypes) {
      if (dtype === 'float32' || capabilities.float16) gflops[dtype] = await speedOf(backend, dtype);
    }
    found = { capabilities, gflops };
  });
  return { ...result, ...found };
}

/** GFLOP/s. What is fast gets a product that is worth its while. */
async function speedOf(backend: TimedBackend, dtype: ComputeDtype): Promise<number> {
  const speed = await timeGemm(backend, { tokens: 128, width: 512, dtype, runs: 3 });
  return speed < 100 ? speed : timeGemm(backend, { tokens: 512, width: 2048, dtype, runs: 3 });
}

async function probe(work: () => Promise<void>): Promise<ProbeResult> {
  try {
    await work();
    return { works: true };
  } catch (error) {
    const { code, path, message } = error as NodeJS.ErrnoException;
    return { works: false, reason: code === 'ENOENT' && path ? `no ${path} on PATH` : message.split('\n')[0]! };
  }
}
