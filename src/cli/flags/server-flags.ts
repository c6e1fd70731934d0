/** The flags of `deja-dit serve`; what they stand for is `ServerOptions` of `serve/settings.ts`. */
import { type Command, Option } from 'commander';
import { byteSize, integer, list, number } from './numbers.ts';

export interface ServerFlags {
  port: number;
  host: string;
  apiKey?: string[];
  cors?: string[];
  outputDir?: string;
  imageUrls?: true | string[];
  memory?: number;
  concurrency?: number;
  maxQueued?: number;
  timeout?: number;
  queue?: string;
  queueLock?: number;
  keep?: number;
  keepMemory?: number;
  maxBody?: number;
  maxPixels?: number;
  maxSteps?: number;
  maxImages?: number;
  maxFrames?: number;
  drain: number;
  logLevel: 'debug' | 'info' | 'warn' | 'error' | 'silent';
}

const count = () => integer({ min: 1 });

/** Adds the flags of what computes: the server's, or those of a worker that does it for one. */
export function addEngineFlags(command: Command, logLevel: ServerFlags['logLevel'] = 'info'): Command {
  return command
    .option(
      '-m, --model <path or id>',
      'as for generate; several times for several models, of which the first is the default',
      (model: string, models: string[] = []) => [...models, model],
    )
    .option('--queue <url>', 'redis://HOST:PORT: the queue between a server and its workers')
    .option(
      '--queue-lock <s>',
      'seconds that a worker may be silent before another one gets its jobs (default: 30)',
      number(),
    )
    .option('--cache-backend <name>', 'as vLLM-Omni has it: none or cache_dit')
    .option('--cache-config <json>', "with it, vLLM-Omni's settings of the cache")
    .option('--enable-cache-dit', 'as SGLang has it, beside its variables SGLANG_CACHE_DIT_ENABLED, _FN, _RDT, ...')
    .option('--cache-dit-params <json>', "SGLang's settings of the cache")
    .option('--cache-dit-config <file>', "a config file of cache-dit's")
    .option('--lora-path <file>', 'a LoRA on the models')
    .option('--lora-scale <x>', 'how strongly the LoRA acts (default: 1)', number())
    .option('--lora-dir <folder>', 'LoRAs that requests may name, by the names of their files')
    .option('--quantize-type <type>', 'compute in fewer bits: int8_per_row, int4_weight_only, svdq_int4_r32_dq, ...')
    .option('--memory <size>', "what loaded models may take together (default: 3/4 of the machine's)", byteSize)
    .option('--concurrency <n>', 'requests that run at the same time, step by step (default: 8)', count())
    .option('--max-pixels <n>', 'width times height (default: 16777216)', count())
    .addOption(
      new Option('--log-level <level>', 'of the JSON lines on standard error')
        .choices(['debug', 'info', 'warn', 'error', 'silent'])
        .default(logLevel),
    );
}

/** Adds the flags of a server. */
export function addServerFlags(command: Command): Command {
  return command
    .optionsGroup('Server:')
    .option('-p, --port <n>', '0 for any that is free', integer({ min: 0, max: 65535 }), 8000)
    .option('--host <address>', '0.0.0.0 for all that reach this machine; then set a key', '127.0.0.1')
    .option(
      '--api-key <keys>',
      'keys by commas, one of which every request must bring (default: DEJA_DIT_API_KEY, which no process list shows)',
      list,
    )
    .option('--cors <origins>', 'origins by commas whose web pages may use the server; * for all', list)
    .option('--output-dir <folder>', 'a folder into which requests may have their pictures written')
    .option('--image-urls [hosts]', 'fetch pictures from URLs: of any public host, or of these, by commas', list)
    .option('--max-queued <n>', 'requests that may wait (default: 64)', count())
    .option('--timeout <s>', 'seconds that a request may run (default: 3600)', number())
    .option('--keep <s>', 'seconds that results are kept (default: 3600)', number())
    .option('--keep-memory <size>', 'and the memory they may take (default: 256MiB)', byteSize)
    .option('--max-body <size>', 'largest body of a request, and largest picture (default: 64MiB)', byteSize)
    .option('--max-steps <n>', 'denoising steps (default: 200)', count())
    .option('--max-images <n>', 'pictures of one request (default: 16)', count())
    .option('--max-frames <n>', 'frames of a video (default: 257)', count())
    .option('--drain <s>', 'seconds that requests have to end when the server is asked to', number(), 30)
    .optionsGroup('Options:');
}
