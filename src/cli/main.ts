#!/usr/bin/env node
/**
 * The `deja-dit` command. What computes or downloads runs in a process of its own: ONNX Runtime blocks the thread that it runs in for
 * as long as a step takes, and a process that somebody else can end stops at once. Everything else runs here.
 */
const supervised = ['generate', 'inspect', 'bench', 'sweep', 'calibrate', 'quantize', 'convert'];

if (supervised.includes(process.argv[2] ?? '')) (await import('./supervise.ts')).supervise();
else await import('./program.ts');
