/**
 * Reads LoRAs from files: which tensors belong to which layer, and what the settings beside them say of scales. What the names mean is in
 * `lora-names.ts`, what the tensors of a layer come to in `lora-layer.ts`; whether the layers are those of a model is asked in
 * `fit-lora.ts`.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { isFolder, listFolder } from '../../files/files.ts';
import { parseJson, readJsonFile } from '../../files/json.ts';
import { fileName, joinPath, parentPath } from '../../files/paths.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { readSafetensors, readSafetensorsHeader } from '../safetensors/safetensors.ts';
import { type LoraLayer, type LoraParts, loraLayer } from './lora-layer.ts';
import { describeForeignPart, type LoraName, parseLoraName } from './lora-names.ts';
import { type AdapterSettings, parseAdapterSettings } from './lora-settings.ts';

export interface LoraFile {
  /** The file, for error messages. */
  readonly origin: string;
  /** By component (`transformer`, `text_encoder`). */
  readonly components: ReadonlyMap<string, readonly LoraLayer[]>;
  /** Tensors for text encoders that the target does not have. */
  readonly ignored: readonly string[];
}

export interface ReadLoraOptions {
  /** Components that a LoRA can be for; tensors without a component's name are for the first. */
  components: readonly string[];
  signal?: AbortSignal | undefined;
}

type Tensors = Readonly<Record<string, Tensor>>;

const diffusersName = 'pytorch_lora_weights.safetensors';
const peftName = 'adapter_model.safetensors';
const peftConfigName = 'adapter_config.json';

/**
 * @param source a safetensors file, a folder with `pytorch_lora_weights.safetensors` or PEFT's `adapter_model.safetensors`, or tensors
 * @throws DejaDitError naming the file and the tensor that is missing or of no known kind
 */
export async function readLora(source: string | Tensors, { components, signal }: ReadLoraOptions): Promise<LoraFile> {
  if (typeof source !== 'string') return sortTensors(source, { origin: 'LoRA', components, settings: {} });
  const origin = await findFile(source);
  const settings = await readSettings(origin);
  return sortTensors(await readSafetensors(origin, { signal }), { origin, components, settings });
}

async function findFile(source: string): Promise<string> {
  if (!(await isFolder(source))) return source;
  const names = await listFolder(source);
  const name = [diffusersName, peftName].find((candidate) => names.includes(candidate));
  if (name !== undefined) return joinPath(source, name);
  throw new DejaDitError('NOT_FOUND', `has neither ${diffusersName} nor ${peftName}; name the file itself`, {
    path: source,
  });
}

/** Diffusers writes the adapter's settings into the file, PEFT beside it. */
async function readSettings(file: string): Promise<Record<string, unknown>> {
  if (fileName(file) === peftName) return readJsonFile(joinPath(parentPath(file), peftConfigName));
  const { lora_adapter_metadata: json } = (await readSafetensorsHeader(file)).metadata;
  if (json === undefined) return {};
  return parseJson(json, { path: file, subject: 'lora_adapter_metadata' });
}

interface SortOptions {
  origin: string;
  components: readonly string[];
  settings: Record<string, unknown>;
}

/** A layer whose tensors are being collected. */
interface Found {
  readonly name: LoraName;
  readonly parts: { -readonly [Part in keyof LoraParts]: LoraParts[Part] };
}

function sortTensors(tensors: Tensors, { origin, components, settings }: SortOptions): LoraFile {
  const layers = new Map<string, Map<string, Found>>();
  const ignored: string[] = [];
  for (const [tensorName, tensor] of Object.entries(tensors)) {
    const name = parseLoraName(tensorName);
    if (!name)
      throw new DejaDitError('UNSUPPORTED', `tensor ${quote(tensorName)} ${describeForeignPart(tensorName)}`, {
        path: origin,
      });
    const component = componentOf(name, components);
    if (component === undefined) {
      if (!name.component?.startsWith('text_encoder')) throw wrongComponent(tensorName, name, { origin, components });
      ignored.push(tensorName);
      continue;
    }
    const modules = layers.get(component) ?? new Map<string, Found>();
    layers.set(component, modules);
    const found = modules.get(name.module) ?? { name, parts: {} };
    modules.set(name.module, found);
    if (found.parts[name.part])
      throw new DejaDitError('INVALID_FILE', `tensor ${quote(tensorName)} is a second '${name.part}' of its layer`, {
        path: origin,
      });
    found.parts[name.part] = tensor;
  }
  if (layers.size === 0) {
    const found = ignored.length > 0 ? 'is for text encoders only, of which there are none here' : 'holds no tensors';
    throw new DejaDitError('INVALID_FILE', found, { path: origin });
  }
  const complete = [...layers].map(([component, modules]) => {
    const own: AdapterSettings | undefined = parseAdapterSettings(settings, { component, origin });
    return [component, [...modules.values()].map((found) => loraLayer(found, { settings: own, origin }))] as const;
  });
  return { origin, components: new Map(complete), ignored };
}

/** The component of the target that a tensor is for; undefined if there is none. */
function componentOf({ component, flat }: LoraName, components: readonly string[]): string | undefined {
  if (component === undefined) return components[0];
  if (components.includes(component)) return component;
  // Kohya's scripts call T5 the third encoder, even where a pipeline has no second one.
  if (flat && component === 'text_encoder_3') return components.find((name) => name === 'text_encoder_2');
  return undefined;
}

function wrongComponent(
  tensor: string,
  { component }: LoraName,
  { origin, components }: Pick<SortOptions, 'origin' | 'components'>,
): DejaDitError {
  const what = component === 'unet' ? 'a UNet' : component;
  return new DejaDitError('NOT_FOUND', `tensor ${quote(tensor)} is for ${what}; this has ${components.join(' and ')}`, {
    path: origin,
  });
}
