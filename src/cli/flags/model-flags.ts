/** The flags that say which model, and where it comes from. */
import { type Command, Option } from 'commander';
import { bundledModel } from '../../weights/bundled-model.ts';
import type { ResolveOptions } from '../../weights/hub/hub.ts';
import { interrupted } from '../interrupt.ts';
import { downloadProgress } from '../output/download-progress.ts';

export interface ModelFlags {
  model?: string;
  variant?: string;
  revision?: string;
  token?: string;
  offline?: boolean;
}

export function modelOption(): Option {
  return new Option(
    '-m, --model <path or id>',
    'folder in Diffusers layout, or a Hugging Face repository (default: the bundled emoji model)',
  );
}

/** The flags of models from the hub. */
export function addHubFlags(command: Command): Command {
  return command
    .optionsGroup('Models from the Hugging Face hub:')
    .option('--variant <name>', 'weights of this kind, as fp16')
    .option('--revision <name>', 'branch, tag or commit (default: main)')
    .option('--token <token>', 'for private and gated repositories (default: HF_TOKEN, which no process list shows)')
    .option('--offline', 'only what is in the cache (default: whether HF_HUB_OFFLINE is set)')
    .optionsGroup('Options:');
}

/** The model that the flags name, and what loading it is told. */
export function modelOf({ model, variant, revision, token, offline }: ModelFlags): {
  source: string;
  options: Pick<ResolveOptions, 'variant' | 'revision' | 'token' | 'offline' | 'onProgress' | 'signal'>;
} {
  return {
    source: model ?? bundledModel(),
    options: { variant, revision, token, offline, onProgress: downloadProgress(), signal: interrupted },
  };
}
