/**
 * The most memory that each rank has taken when a model has been loaded and called once: alone, and with its weights cut over ranks, each of
 * which reads its parts from the file.
 *
 *   node bench/mpi/peak-memory.js make FOLDER         writes a model of random weights, 1.1 GB in bfloat16
 *   node bench/mpi/peak-memory.js FOLDER              one process
 *   mpirun -np 2 --bind-to none node bench/mpi/peak-memory.js FOLDER
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { enableCache } from '../../dist/api/enable-cache.js';
import { caseInputs, fluxConfig, loadCase } from '../../dist/lab/bench/cases.js';
import { AutoModel } from '../../dist/models/auto-model.js';
import { createBackend } from '../../dist/runtime/create-backend.js';
import { launchedBy } from '../../dist/runtime/launched-by.js';
import { ProgramCache } from '../../dist/runtime/program-cache.js';
import { fromFloat32 } from '../../dist/tensor/convert.js';
import { Tensor } from '../../dist/tensor/tensor.js';
import { streamSafetensors } from '../../dist/weights/safetensors/write-safetensors.js';

const config = {
  ...fluxConfig,
  num_attention_heads: 16,
  attention_head_dim: 96,
  axes_dims_rope: [16, 40, 40],
  num_layers: 4,
  num_single_layers: 10,
};
const size = { imageEdge: 32, textTokens: 128 };

async function make(folder) {
  const programs = new ProgramCache(await createBackend());
  const model = await loadCase({ model: config }, programs);
  // A call asks for all weights, which are made up then.
  await model.forward(caseInputs({ imageEdge: 1, textTokens: 1 }, config));
  const { weights } = model;
  await mkdir(folder, { recursive: true });
  const specs = weights.names.map((name) => [name, { dtype: 'bfloat16', shape: weights.get(name).shape }]);
  await streamSafetensors(path.join(folder, 'diffusion_pytorch_model.safetensors'), {
    specs: Object.fromEntries(specs),
    async fill(put) {
      for (const [name, { dtype, shape }] of specs) {
        const { f32 } = await programs.backend.download(weights.get(name));
        await put(name, new Tensor(dtype, fromFloat32(dtype, f32), shape));
      }
    },
  });
  await writeFile(path.join(folder, 'config.json'), JSON.stringify(config));
  await model.dispose();
  await programs.backend.dispose();
}

async function measure(folder) {
  const job = launchedBy();
  const model = await AutoModel.fromPretrained(folder);
  if (job) enableCache(model, { cacheConfig: null, parallelismConfig: { tpSize: 'auto' } });
  const { sample } = await model.forward(caseInputs(size, config));
  const status = await readFile('/proc/self/status', 'utf8');
  const megabytes = (field) => Math.round(Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)[1]) / 1024);
  const checksum = sample.f32.reduce((sum, value) => sum + Math.abs(value), 0) / sample.size;
  const who = job ? `rank ${job.rank} of ${job.size}` : 'one process';
  console.log(`${who}: ${megabytes('VmHWM')} MiB at most; mean magnitude of the result ${checksum.toPrecision(6)}`);
  await model.dispose();
}

const [first, second] = process.argv.slice(2);
await (first === 'make' ? make(second) : measure(first));
