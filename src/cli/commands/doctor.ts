/** `deja-dit doctor`: what works on this machine, and why the rest does not. */
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { printable } from '../../errors/printable.ts';
import { type BackendCapabilities, describeInt8Product } from '../../runtime/backend.ts';
import { bytes, table } from '../output/format.ts';
import { type Check, type CheckName, check, checkNames } from './doctor-checks.ts';

/** @param options.only what a process of its own looks at, for the one that asks */
export async function doctor({ json, only }: { json?: boolean; only?: CheckName }): Promise<void> {
  const machine = {
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    instructions: instructionSets(),
    memory: os.totalmem(),
  };
  const checks: Check[] = [];
  for (const name of only ? [only] : checkNames) checks.push(...(await check(name, { alone: only !== undefined })));
  if (only) return console.log(JSON.stringify({ checks }));
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
