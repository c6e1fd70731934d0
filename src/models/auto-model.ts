/** `AutoModel`: loads one model, whatever its class, from its folder in a Diffusers checkpoint or from a file of another program. */
import { readArguments } from '../errors/arguments.ts';
import { DejaDitError } from '../errors/errors.ts';
import { quote } from '../errors/printable.ts';
import { warn } from '../errors/warnings.ts';
import { readConfig } from '../weights/model-folder.ts';
import { openWeights } from '../weights/open-weights.ts';
import { assembleModel, type LoadedModel } from './load/assemble-model.ts';
import { elsewhere, type LoadOptions, loadShape } from './load/load-options.ts';
import { loadSingleFile, type SingleFileOptions } from './load/load-single-file.ts';
import { TransformerModel } from './transformer-model.ts';

/**
 * Loads any supported model from `config.json` and safetensors in a folder.
 * @example
 * const model = await AutoModel.fromPretrained(path);
 * const { sample } = await model.forward({ hidden_states, encoder_hidden_states, timestep });
 */
export const AutoModel = {
  /**
   * A transformer, the kind of model that can be cached. For text encoders and autoencoders use `loadModel`.
   * @throws DejaDitError naming the file, field or tensor that is wrong
   */
  async fromPretrained(folder: string, options: LoadOptions = {}): Promise<TransformerModel> {
    const model = await loadModel(folder, options);
    if (model instanceof TransformerModel) return model;
    await model.dispose();
    throw new DejaDitError('UNSUPPORTED', `${model.className} is not a transformer; load it with loadModel()`, {
      path: folder,
    });
  },

  /**
   * A transformer from a file that holds its weights alone or beside other models, under the names of Diffusers or of its first
   * release, as safetensors or GGUF.
   * @param options.config a folder or repository in Diffusers layout whose `config.json` (or `transformer/config.json`) describes the model;
   *   default: what the weights say
   * @throws DejaDitError naming the file, field or tensor that is wrong
   * @example
   * const model = await AutoModel.fromSingleFile('flux1-dev-Q4_K_S.gguf', { config: 'black-forest-labs/FLUX.1-dev' });
   */
  async fromSingleFile(file: string, options: SingleFileOptions = {}): Promise<TransformerModel> {
    const model = await loadSingleFile(file, options);
    if (model instanceof TransformerModel) return model;
    await model.dispose();
    throw new DejaDitError('UNSUPPORTED', `${model.className} is not a transformer; load it with loadSingleFile()`, {
      path: file,
    });
  },
};

/**
 * Loads a model of any supported class.
 * @example
 * const encoder = await loadModel(`${path}/text_encoder`);
 */
export async function loadModel(folder: string, args: LoadOptions = {}): Promise<LoadedModel> {
  const options = readArguments(loadShape, args, { of: 'loadModel', elsewhere });
  if (typeof folder !== 'string')
    throw new DejaDitError('INVALID_ARGUMENT', `expected the folder of a model, got ${quote(folder)}`, {
      path: 'folder',
    });
  const described = await readConfig(folder);
  const open = () => openWeights(folder, { variant: options.variant, onMissingVariant: warn });
  return assembleModel(described, options, { origin: folder, open });
}
