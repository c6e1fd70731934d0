/** Test support: the small checkpoints under `fixtures/`, opened as far as their names and shapes. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { readConfig } from '../../weights/model-folder.ts';
import { openWeights } from '../../weights/open-weights.ts';
import type { WeightSource } from '../../weights/weight-source.ts';
import { ConfigReader } from '../config-reader.ts';
import { findGraphModel, findTransformer } from '../registry.ts';
import type { AccountedModel } from '../weight-accounting.ts';
import { fixtures } from './golden.ts';

/** Every checkpoint of a transformer, text encoder and autoencoder, as a folder under `fixtures/`. */
export const checkpointFolders = ['models', 'text-encoders', 'autoencoders', 'controlnets'].flatMap((kind) =>
  readdirSync(path.join(fixtures, kind), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => path.join(kind, name))
    .filter((folder) => readdirSync(path.join(fixtures, folder)).includes('config.json')),
);

export interface OpenCheckpoint {
  className: string;
  config: Record<string, unknown>;
  /** The model of another config. @throws DejaDitError as loading does */
  configure(config: Record<string, unknown>): AccountedModel;
  /** Closed: its tensors' names and shapes are known, their data is not to be had. */
  source: WeightSource;
}

export async function openCheckpoint(folder: string): Promise<OpenCheckpoint> {
  const { className, config, path: file } = await readConfig(path.join(fixtures, folder));
  const family = ((await findTransformer(className!)) ?? (await findGraphModel(className!)))!;
  const source = await openWeights(path.join(fixtures, folder));
  await source.close();
  return { className: className!, config, source, configure: (json) => family.configure(new ConfigReader(json, file)) };
}
