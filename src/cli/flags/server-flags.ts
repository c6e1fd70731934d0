/** The flags of `deja-dit serve`; what they stand for is `ServerOptions` of `serve/settings.ts`. */
import { type Command, Option } from 'commander';
import { byteSize, integer, list, number } from './numbers.ts';

export interface ServerFlags {
  port: number;
  host: string;
  apiKey?: string[];
  cors?: string[];
  imageUrls?: true | string[];
  memory?: number;
  concurrency?: number;
  maxQueued?: number;
  timeout?: number;
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

/** Adds the flags to a command. */
export function addServerFlags(command: Command): Command {
  const count = integer({ min: 1 });
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
    .option('--image-urls [hosts]', 'fetch pictures from URLs: of any public host, or of these, by commas', list)
    .option('--memory <size>', "what loaded models may take together (default: 3/4 of the machine's)", byteSize)
    .option('--concurrency <n>', 'requests that run at the same time, interleaved step by step (default: 4)', count)
    .option('--max-queued <n>', 'requests that may wait (default: 64)', count)
    .option('--timeout <s>', 'seconds that a request may run (default: 3600)', number())
    .option('--keep <s>', 'seconds that results are kept (default: 3600)', number())
    .option('--keep-memory <size>', 'and the memory they may take (default: 256MiB)', byteSize)
    .option('--max-body <size>', 'largest body of a request, and largest picture (default: 64MiB)', byteSize)
    .option('--max-pixels <n>', 'width times height (default: 16777216)', count)
    .option('--max-steps <n>', 'denoising steps (default: 200)', count)
    .option('--max-images <n>', 'pictures of one request (default: 16)', count)
    .option('--max-frames <n>', 'frames of a video (default: 257)', count)
    .option('--drain <s>', 'seconds that requests have to end when the server is asked to', number(), 30)
    .addOption(
      new Option('--log-level <level>', 'of the JSON lines on standard error')
        .choices(['debug', 'info', 'warn', 'error', 'silent'])
        .default('info'),
    )
    .optionsGroup('Options:');
}
