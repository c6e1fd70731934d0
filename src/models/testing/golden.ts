/** Test support: reads a recorded forward pass (inputs, every block, outputs) and compares with it. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { readJsonFile } from '../../files/json.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import type { ForwardInputs, InputValue } from '../inputs.ts';

/** max |actual − expected| / max |expected|, the measure of every parity claim. */
export function relativeError(actual: Tensor, expected: Tensor): number {
  if (actual.size !== expected.size) throw new Error(`${actual} is compared with ${expected}`);
  const [a, b] = [actual.float().f32, expected.float().f32];
  let error = 0;
  let scale = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    // A NaN must not compare as equal to anything.
    error = difference > error || Number.isNaN(difference) ? difference : error;
    scale = Math.max(scale, Math.abs(b[i]!));
  }
  return error / scale;
}

export const fixtures = path.resolve(import.meta.dirname, '../../../fixtures');

/** Folders of `fixtures/models` that hold a recorded forward pass, one or more for every family. */
export const goldenModels = readdirSync(path.join(fixtures, 'models')).filter((name) =>
  existsSync(path.join(fixtures, 'models', name, 'io.safetensors')),
);

/**
 * The recording of a family, by the name of its folder: the one of that name, or the first that begins with it.
 * @throws Error if there is none: no test is to pass over a family without a word
 */
export function goldenOf(family: string): string {
  const name = family.replaceAll('-', '_');
  const found = goldenModels.find((each) => each === name) ?? goldenModels.find((each) => each.startsWith(`${name}_`));
  if (found === undefined)
    throw new Error(`fixtures/models has no recording of '${family}': ${goldenModels.join(', ')}`);
  return found;
}

export interface GoldenCase {
  inputs: ForwardInputs;
  /** Recorded tensors: `output`, `<list>.<i>.hidden_states`, … */
  tensors: Record<string, Tensor>;
}

interface Kind {
  kind: string;
  value?: InputValue;
  items?: Record<string, Kind> | Kind[];
}

/** Reads `<folder>/<name>.safetensors` and `.json`; inputs that are lists or dicts are put together from their parts. */
export async function readGolden(folder: string, name = 'io'): Promise<GoldenCase> {
  const base = path.join(fixtures, folder, name);
  const tensors = await readSafetensors(`${base}.safetensors`);
  const json = existsSync(`${base}.json`) ? await readJsonFile(`${base}.json`) : { inputs: {} };
  const inputs: Record<string, InputValue> = {};
  for (const [key, kind] of Object.entries(json.inputs as Record<string, Kind>))
    inputs[key] = rebuild(key, kind, tensors);
  return { inputs, tensors };
}

/** Tensors of lists and dicts, which may be nested, are stored under dotted names: `x.0`, `added_cond_kwargs.resolution`. */
function rebuild(key: string, kind: Kind, tensors: Record<string, Tensor>): InputValue {
  if (tensors[key]) return tensors[key];
  const below = Object.keys(tensors).filter((name) => name.startsWith(`${key}.`));
  if (below.length === 0) return kind.value;
  const parts = [...new Set(below.map((name) => name.slice(key.length + 1).split('.')[0]!))];
  const entries = parts.map((part) => [part, rebuild(`${key}.${part}`, { kind: 'tensor' }, tensors)] as const);
  return parts.every((part) => /^\d+$/.test(part))
    ? entries.sort((a, b) => Number(a[0]) - Number(b[0])).map(([, value]) => value)
    : Object.fromEntries(entries);
}
