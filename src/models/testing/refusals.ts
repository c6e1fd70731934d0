/** Test support: what a family refuses before any weight is read or graph is built. */
import path from 'node:path';
import { expect, it } from 'vitest';
import { readJsonFile } from '../../files/json.ts';
import { floatTensor, sizeOf, type Tensor } from '../../tensor/tensor.ts';
import { ConfigReader } from '../config-reader.ts';
import { checkInputs, type ForwardInputs } from '../inputs.ts';
import { findTransformer } from '../registry.ts';
import { fixtures, readGolden } from './golden.ts';

export interface Refusals {
  /** Folder under `fixtures/` whose config and recorded inputs are changed. */
  folder: string;
  /** Changes to the inputs, `undefined` to leave one out, and what the error says. */
  inputs?: readonly (readonly [change: ForwardInputs, message: string])[];
  /** Changes to the config, and what the error says. */
  configs?: readonly (readonly [change: Record<string, unknown>, message: string])[];
}

/** A tensor of which only the shape matters. */
export function zeros(shape: number[]): Tensor {
  return floatTensor(new Float32Array(sizeOf(shape)), shape);
}

/** Tests: each change is an error with this message, where the unchanged call is none. */
export function itRefuses({ folder, inputs = [], configs = [] }: Refusals): void {
  const origin = path.join(folder, 'config.json');
  const configure = async (change: Record<string, unknown> = {}) => {
    const json = { ...(await readJsonFile(path.join(fixtures, origin))), ...change };
    return (await findTransformer(String(json._class_name)))!.configure(new ConfigReader(json, origin));
  };
  const prepare = async (change: ForwardInputs = {}) => {
    const model = await configure();
    const changed = { ...(await readGolden(folder)).inputs, ...change };
    return model.prepare(checkInputs(model.inputs, changed), changed);
  };

  it('accepts the recorded inputs', async () => {
    expect((await prepare()).tensors).not.toEqual({});
  });
  it.each(
    inputs.map(([change, message]) => [Object.keys(change).join(', '), message, change] as const),
  )('refuses a wrong %s: %s', async (_names, message, change) => {
    await expect(prepare(change)).rejects.toThrow(message);
  });
  it.each(
    configs.map(([change, message]) => [JSON.stringify(change), message, change] as const),
  )('refuses the config %s: %s', async (_json, message, change) => {
    await expect(configure(change)).rejects.toThrow(message);
  });
}
