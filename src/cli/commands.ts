/** The commands of `deja-dit` and their flags. They are imported when run, so that `--help` and short jobs start fast. */
import { readFileSync } from 'node:fs';
import { InvalidArgumentError, Option } from 'commander';
import { CliCommand } from './command.ts';
import { addCacheFlags } from './flags/cache-flags.ts';
import { addComponentFlags } from './flags/component-flags.ts';
import { addMemoryFlags } from './flags/memory-flags.ts';
import { addHubFlags, modelOption } from './flags/model-flags.ts';
import { integer, list, number, size } from './flags/numbers.ts';
import { addOffloadFlags } from './flags/offload-flags.ts';
import { addParallelFlags } from './flags/parallel-flags.ts';
import { addRequestFlags } from './flags/request-flags.ts';
import { addEngineFlags, addServerFlags, type ServerFlags } from './flags/server-flags.ts';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

export const program = new CliCommand('deja-dit')
  .description('Runs Diffusion Transformers: images and video from text, fast by re-using what earlier steps computed.')
  .version(version)
  // Flags after a command that launch starts are that command's.
  .enablePositionalOptions()
  // One line, as all errors are.
  .configureOutput({
    outputError: (text, write) =>
      write(
        `deja-dit: ${text
          .trim()
          .replace(/^error: /, '')
          .replace(/\s*\n\s*/g, ' ')}\n`,
      ),
  });

const backendOption = () => {
  const option = new Option(
    '--backend <name>',
    'what computes; auto: the GPU where it computes right (default: cpu, or wasm where that does not load)',
  ).choices(['cpu', 'wasm', 'webgpu', 'auto']);
  const chosen = option.parseArg!;
  return option.argParser((value, previous: string | undefined) => {
    if (value === 'cuda')
      throw new InvalidArgumentError('There is no CUDA backend; webgpu runs on the same card, see docs/gpu.md.');
    return chosen(value, previous as string);
  });
};
const dtypeOption = () =>
  new Option(
    '--compute-dtype <type>',
    'what transformers compute in (default: float16 on a GPU that has it, else float32)',
  ).choices(['float32', 'float16']);
const generateCommand = addCacheFlags(
  addRequestFlags(
    program
      .command('generate')
      .description('generate images or videos from a text')
      .argument('<prompt...>', 'what to draw; several words need no quotes')
      .addOption(modelOption())
      .option(
        '-o, --out <file>',
        'PNG, JPEG or WebP by its ending, MP4 for videos (with ffmpeg); several are numbered (default: out.png, videos out.webp)',
      )
      .option('--fps <n>', 'frames per second of a video file', number())
      .option('--grid', 'one file with all images side by side')
      .option('--lora-path <path>', 'a LoRA: the file, or its folder')
      .option('--lora-name <file>', 'which file of that folder')
      .option('--lora-scale <x>', 'how strongly the LoRA acts (default: 1)', number())
      .option('--quantize-type <type>', 'compute in fewer bits: int8_per_row, int4_weight_only, svdq_int4_r32_dq, ...')
      .option('--preview', 'show the image in the terminal while it forms')
      .option('--json', 'print settings and timings as JSON')
      .option('-q, --quiet', 'print nothing but errors')
      .addOption(backendOption())
      .addOption(dtypeOption())
      .option('--threads <n>', 'threads within an operator', integer({ min: 1 })),
  ),
);
addHubFlags(addMemoryFlags(addOffloadFlags(addComponentFlags(addParallelFlags(generateCommand))))).action(
  async (prompt: string[], options) => (await import('./commands/generate.ts')).generate(prompt.join(' '), options),
);

const addEngine = (command: CliCommand, logLevel?: ServerFlags['logLevel']) =>
  addHubFlags(
    addOffloadFlags(
      addParallelFlags(
        addCacheFlags(
          addEngineFlags(command, logLevel)
            .addOption(backendOption())
            .addOption(dtypeOption())
            .option('--threads <n>', 'threads within an operator', integer({ min: 1 })),
        ),
      ),
    ),
  );
addServerFlags(
  addEngine(
    program
      .command('serve')
      .description('a server for images and videos over HTTP: its own jobs, OpenAI, and others; /docs lists all of it'),
  ),
).action(async (options) => (await import('./commands/serve.ts')).serve(options));
addEngine(
  program.command('worker').description('runs the jobs that a server with the same --queue is asked for'),
).action(async (options) => (await import('./commands/serve.ts')).worker(options));

addEngine(
  program
    .command('comfyui')
    .description("draws a workflow of ComfyUI's: one in API format, or a PNG that holds its own")
    .argument('<workflow>', '.json or .png; pictures that it loads are beside it')
    .option('-o, --out <folder>', 'where its pictures go', '.')
    .option('-q, --quiet', 'print nothing but errors and warnings'),
  'warn',
).action(async (file: string, options) => (await import('./commands/comfyui.ts')).comfyui(file, options));

program
  .command('manifest')
  .description('lists the files of a model in its folder, so that pages can read it from a web server')
  .argument('<folder>', 'folder in Diffusers layout')
  .action(async (folder: string) => (await import('./commands/manifest.ts')).manifest(folder));

addHubFlags(
  program
    .command('inspect')
    .description('components, parameters, dtypes and bytes of a model; of a repository only the headers are fetched')
    .argument('[model]', 'folder in Diffusers layout, or a Hugging Face repository')
    .option('--options', "what a pipeline's requests may set: the defaults and ranges of this model")
    .option('--verify', 'hash all files from the hub, and download damaged ones anew')
    .option('--json', 'print as JSON'),
).action(async (model: string | undefined, options) => (await import('./commands/inspect.ts')).inspect(model, options));

program
  .command('launch')
  .description('a command on several ranks of MPI, which share its model: launch --nproc 4 -- generate "red apple"')
  .argument('<command...>', 'generate with its flags; -- before it is optional')
  .requiredOption('-n, --nproc <n>', 'ranks in all', integer({ min: 1 }))
  .option('--hosts <names>', 'hosts to spread them over, by commas (default: this one)', list)
  .option('--hostfile <file>', "hosts and their numbers of ranks, as the launcher's manual says")
  .addOption(
    new Option('--mpi <flavour>', 'whose launcher (default: Open MPI, else MPICH)').choices(['openmpi', 'mpich']),
  )
  .option('--dry-run', 'print the command line of the launcher')
  .passThroughOptions()
  .action(async (command: string[], options) => (await import('./commands/launch.ts')).launch(command, options));

program
  .command('doctor')
  .description('which backends work on this machine, and why the others do not')
  .option('--json', 'print as JSON')
  .addOption(new Option('--only <check>', 'one of the checks').hideHelp())
  .action(async (options) => (await import('./commands/doctor.ts')).doctor(options));

addHubFlags(program.command('bench'))
  .description('measure this machine: step time, overhead, GEMM efficiency, memory, cold start')
  .addOption(modelOption())
  .addOption(backendOption())
  .addOption(dtypeOption())
  .option('--against <python>', 'a Python with torch and diffusers: runs the same model there, side by side')
  .option(
    '--quantize <types>',
    'time these types beside plain numbers instead, by commas; --against then runs compiled bfloat16',
    list,
  )
  .option('--dry-run', 'one turn of the smallest model: shows that everything runs, the times say nothing')
  .option('--json', 'print as JSON')
  .action(async (options) => (await import('./commands/bench.ts')).bench(options));

program
  .command('metrics')
  .description('how much images differ from true ones')
  .argument('<metric...>', 'psnr, ssim, mse, rmse, mae, or all')
  .requiredOption('--ref, --img-true <path>', 'the true image, or a folder of them')
  .requiredOption('--test, --img-test <path>', 'the image to judge, or a folder with images of the same names')
  .addOption(
    new Option('--psnr-type <type>', "custom: cache-dit's 8-bit arithmetic")
      .choices(['skimage', 'custom'])
      .default('skimage'),
  )
  .option('-s, --summary', 'the mean only')
  .option('--json', 'print as JSON')
  .action(async (names: string[], options) => (await import('./commands/metrics.ts')).metrics(names, options));

addMemoryFlags(addHubFlags(program.command('sweep')))
  .description('what a speed-up costs in image quality: a table and a plot, beside plainly taking fewer steps')
  .addOption(modelOption())
  .option('--prompts <n>', 'how many of the built-in prompts', integer({ min: 1 }), 24)
  .option('--methods <names>', 'curves, or with --schedules forecasters; separated by commas', list)
  .option(
    '--schedules <names>',
    'fixed schedules instead of thresholds: every3, fast, ultra, 1100100..., by commas',
    list,
  )
  .option('--coefficients <file>', 'what deja-dit calibrate wrote: the forecaster `learned`')
  .option('--steps <n>', 'denoising steps of the uncached run', integer({ min: 1 }), 28)
  .option('--size <WxH>', 'image size', size)
  .option('-o, --out <folder>', 'write sweep.md, sweep.json, sweep.svg and sweep.png there')
  .option('--threads <n>', 'threads within an operator', integer({ min: 1 }))
  .option('--json', 'print as JSON')
  .action(async (options) => (await import('./commands/sweep.ts')).sweep(options));

addMemoryFlags(addHubFlags(program.command('calibrate')))
  .description('fit forecast weights to a model: least squares over uncached runs of a few prompts')
  .addOption(modelOption())
  .option('--prompts <n>', 'how many of the built-in prompts', integer({ min: 1 }), 8)
  .option('--steps <n>', 'denoising steps', integer({ min: 1 }), 28)
  .option('--size <WxH>', 'image size', size)
  .option('--schedules <names>', 'schedules to fit: every3, fast, ultra, 1100100..., by commas', list, [
    'every3',
    'every4',
    'fast',
    'ultra',
  ])
  .option('-o, --out <file>', 'JSON for the forecaster `learned`', 'coefficients.json')
  .option('--threads <n>', 'threads within an operator', integer({ min: 1 }))
  .action(async (options) => (await import('./commands/calibrate.ts')).calibrate(options));

addHubFlags(program.command('quantize'))
  .alias('convert')
  .description('a model in fewer bits, and what that costs: errors per layer and of whole images')
  .addOption(modelOption())
  .requiredOption(
    '-t, --type <type>',
    'int8_per_row, int8_weight_only, int4_weight_only, svdq_int4_r32_dq, ...; several by commas are compared',
    list,
  )
  .option('-o, --out <folder>', 'write the quantised model there')
  .option('--report', 'errors per layer, the ten worst, and the PSNR of images against float32')
  .option('--prompts <n>', 'images of the report', integer({ min: 1 }), 8)
  .option('--sheet <file>', 'picture of the first eight: a row in float32, and one for each type')
  .option('--steps <n>', 'denoising steps of an image', integer({ min: 1 }))
  .option('--components <names>', 'components to quantise, by commas (default: the transformers)', list)
  .option('--exclude <parts>', 'leave layers whose path contains one of these, by commas', list)
  .option('--block-size <n>', 'inputs that share a scale: 16, 32, 64 or 128', integer({ min: 1 }))
  .option('--smooth <strategy>', 'SVDQuant: identity, activation, weight, weight_inv or few_shot')
  .option('--precision <level>', 'SVDQuant: low (randomised), medium or high (exact)')
  .option('--refine <n>', 'SVDQuant: how often the low-rank branch is fitted anew', integer({ min: 0 }))
  .option('--no-regional', 'quantise layers outside the repeated blocks too')
  .option('--no-fallback', 'fail where a layer cannot be held in the type')
  .option('--no-disk-cache', 'do not keep layers that took long')
  .option('--threads <n>', 'threads within an operator', integer({ min: 1 }))
  .option('--json', 'print as JSON')
  .action(async (options) => (await import('./commands/quantize.ts')).quantize(options));

program
  .command('matrix')
  .description('for contributors: the page of what works, from a test report')
  .argument('<report>', 'JSON of vitest run --reporter=json')
  .action(async (report: string) => (await import('./commands/matrix.ts')).matrix(report));
