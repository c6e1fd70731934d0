/** `deja-dit doctor`: what works on this machine, and why the rest does not. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { printable } from '../../errors/printable.ts';
import { timeGemm } from '../../lab/bench/gemm.ts';
import { TimedBackend } from '../../lab/timed-backend.ts';
import { type ComputeDtype, computeDtypes } from '../../models/compute-dtype.ts';
import { checkMpi } from '../../parallel/collective/mpi/check.ts';
import { type BackendCapabilities, describeInt8Product } from '../../runtime/backend.ts';
import { type BackendName, createBackend } from '../../runtime/create-backend.ts';
import { type ProbeResult, probeProvider } from '../../runtime/ort-node/probe.ts';
import { bytes, table } from '../output/format.ts';

interface Check extends ProbeResult {
  name: string;
  /** What it is for, or what it means that it works. */
  note: string;
  /** Of a backend: what trials found. */
  capabilities?: BackendCapabilities;
  /** Of a backend: GFLOP/s of a matrix product by the type that it computes in. */
  gflops?: Partial<Record<ComputeDtype, number>>;
}

export async function doctor({ json }: { json?: boolean }): Promise<void> {
  const machine = {
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    instructions: instructionSets(),
    memory: os.totalmem(),
  };
  const checks: Check[] = [
    { name: 'cpu', note: 'native ONNX Runtime; --backend cpu', ...(await probeBackend('cpu')) },
    { name: 'wasm', note: 'WebAssembly, in Node and browsers; --backend wasm', ...(await probeBackend('wasm')) },
    { name: 'webgpu', note: 'the GPU; --backend webgpu', ...(await probeBackend('webgpu')) },
    { name: 'cuda', note: 'seen by ONNX Runtime; no backend, see docs/gpu.md', ...(await probeProvider('cuda')) },
    {
      name: 'sharp',
      note: 'reads and writes PNG, JPEG, WebP',
      ...(await probe(async () => void (await import('sharp')))),
    },
    {
      name: 'ffmpeg',
      note: 'MP4 output of video pipelines',
      ...(await probe(async () => void execFileSync('ffmpeg', ['-version'], { stdio: 'ignore' }))),
    },
  ];
  for (const { flavour, launcher, works, library, reason } of await checkMpi()) {
    const name = { openmpi: 'Open MPI', mpich: 'MPICH' }[flavour];
    const note = works ? `${library} by ${launcher!.command}, two ranks spoke to each other` : 'ranks; deja-dit launch';
    checks.push({ name, works, note, reason });
  }
  const backend = checks[0]!.works ? 'cpu' : 'wasm';
  if (json) return console.log(JSON.stringify({ machine, checks, backend }, null, 2));
  console.log(
    `${machine.cpu}, ${machine.cores} cores, ${bytes(machine.memory)}  (${machine.instructions.join(', ') || 'instruction sets unknown'})`,
  );
  console.log(`Node ${machine.node}, ${machine.platform}\n`);
  console.log(
    table(
      checks.map(({ name, works, note, capabilities, gflops = {} }) => {
        const rates = Object.entries(gflops).map(
          ([dtype, rate]) => `${rate.toFixed(rate < 10 ? 1 : 0)} GFLOP/s in ${dtype}`,
        );
        return [
          works ? '✓' : '✗',
          name,
          note,
          [...(capabilities ? [describe(capabilities)] : []), ...rates].join('; '),
        ];
      }),
    ),
  );
  // Reasons are whole sentences, for which a table has no room.
  for (const { name, works, reason } of checks) {
    if (!works && reason) console.log(printable(reason.startsWith(name) ? reason : `${name}: ${reason}`));
  }
  const gpu = checks.find(({ name }) => name === 'webgpu')!.capabilities;
  console.log(
    gpu
      ? `\n${adviceOnGpu(gpu)}`
      : '\nWithout a GPU that WebGPU reaches, processors compute: --backend auto takes what there is.',
  );
  if (
    checks.some(({ capabilities }) => capabilities?.lowBitProduct === 'widened' && capabilities.int8Product === 'u8u8')
  )
    console.log('\nWhere int8 products are u8·u8, signed weights would overflow. Exact all the same, and less fast.');
  if (backend === 'wasm')
    console.log('\nWithout native ONNX Runtime everything is computed in WebAssembly, several times slower.');
  else if (!machine.instructions.includes('avx512f'))
    console.log('\nWithout AVX-512 expect a few times less speed than bench/README.md shows.');
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

/** What trials found of a backend. */
function describe({ lowBitProduct, int8Product, float16, fusedAttention }: BackendCapabilities): string {
  if (lowBitProduct === 'widened') return `int8 products: ${describeInt8Product(int8Product)}`;
  return `${float16 ? 'float16' : 'float32 only'}, fused attention ${fusedAttention ? 'right' : 'wrong here, so not used'}`;
}

function adviceOnGpu({ float16, maxBinding }: BackendCapabilities): string {
  const type = float16
    ? "in float16 (--compute-dtype float32 for twice the memory and the processor's pictures)"
    : 'in float32';
  return (
    `The GPU computes ${type}: generate --backend webgpu, or auto. Attention takes ${bytes(maxBinding)} at a time; ` +
    'models larger than its memory: --layerwise-offload, or --quantize-type int4_weight_only.'
  );
}

async function probe(work: () => Promise<void>): Promise<ProbeResult> {
  try {
    await work();
    return { works: true };
  } catch (error) {
    return { works: false, reason: (error as Error).message.split('\n')[0]! };
  }
}

/** The instruction sets that decide how fast matrix products are; empty where the system does not tell. */
function instructionSets(): string[] {
  const wanted = ['avx2', 'fma', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_int8', 'asimd', 'asimddp', 'i8mm'];
  try {
    const flags = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' ') ?? [];
    return wanted.filter((name) => flags.includes(name));
  } catch {
    return [];
  }
}
