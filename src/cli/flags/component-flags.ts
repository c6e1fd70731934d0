/** The flags of components that come from elsewhere than the model's folder. */
import type { Command } from 'commander';
import type { ComponentSources } from '../../pipelines/component-sources.ts';

export interface ComponentFlags {
  transformer?: string;
  transformer2?: string;
  vae?: string;
  textEncoder?: string;
  textEncoder2?: string;
  textEncoder3?: string;
  controlnet?: string[];
}

export function addComponentFlags(command: Command): Command {
  return command
    .optionsGroup('Components from elsewhere: a file (safetensors, GGUF), a folder or a repository:')
    .option('--transformer <source>', 'in place of the transformer of the model')
    .option('--transformer-2 <source>', 'of the second expert (Wan 2.2)')
    .option('--vae <source>', 'of the autoencoder')
    .option('--text-encoder <source>', 'of the text encoder')
    .option('--text-encoder-2 <source>', 'of the second one')
    .option('--text-encoder-3 <source>', 'of the third one')
    .option('--controlnet <source...>', 'a ControlNet to draw with, or several')
    .optionsGroup('Options:');
}

export function componentsOf(flags: ComponentFlags): ComponentSources {
  const { transformer, transformer2, vae, textEncoder, textEncoder2, textEncoder3, controlnet } = flags;
  return {
    transformer,
    transformer2,
    vae,
    textEncoder,
    textEncoder2,
    textEncoder3,
    controlnet: controlnet?.length === 1 ? controlnet[0] : controlnet,
  };
}
