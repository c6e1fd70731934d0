/**
 * Reads LoRAs as Diffusers and PEFT save them: which tensors belong to which layer, and by what each product is scaled. Whether the
 * layers are those of a model is asked in `fit-lora.ts`.
 */
import { z } from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { isFolder, listFolder } from '../../files/files.ts';
import { parseJson, readJsonFile } from '../../files/json.ts';
import { fileName, joinPath, parentPath } from '../../files/paths.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { readSafetensors, readSafetensorsHeader } from '../safetensors/safetensors.ts';

/** What a file says of one linear layer, as it is stored. */
export interface LoraLayer {
  readonly down: Tensor;
  readonly up: Tensor;
  /** alpha / rank, or alpha / √rank of rank-stabilised LoRAs (arXiv 2312.03732). */
  readonly scale: number;
}

export interface LoraFile {
  /** The file, for error messages. */
  readonly origin: string;
  /** By component (`transformer`), then by module path. */
  readonly components: ReadonlyMap<string, ReadonlyMap<string, LoraLayer>>;
  /** Tensors for text encoders. */
  readonly ignored: readonly string[];
}

export interface ReadLoraOptions {
  /** Components that a LoRA can be for; tensors without a component's name are for the first. */
  components: readonly string[];
  signal?: AbortSignal | undefined;
}

type Tensors = Readonly<Record<string, Tensor>>;
type Role = 'down' | 'up' | 'alpha';

const diffusersName = 'pytorch_lora_weights.safetensors';
const peftName = 'adapter_model.safetensors';
const peftConfigName = 'adapter_config.json';

const what: Readonly<Record<Role, string>> = { down: 'down matrix', up: 'up matrix', alpha: 'alpha' };

const roles: readonly [RegExp, Role][] = [
  [/\.(lora_A|lora_down|lora\.down)(\.default)?\.weight$/, 'down'],
  [/\.(lora_B|lora_up|lora\.up)(\.default)?\.weight$/, 'up'],
  [/\.alpha$/, 'alpha'],
];

/** Names of Kohya's scripts, ComfyUI and the models' first releases, whose layers are cut differently. */
const foreignNames = /^(lora_(unet|transformer|te\d?)_|(model\.)?diffusion_model\.|double_blocks\.|single_blocks\.)/;

/** What decides about scales in PEFT's `LoraConfig`. */
const settingsSchema = z.object({
  lora_alpha: z.number(),
  alpha_pattern: z.record(z.string().regex(/^\^?[\w.]+$/), z.number()).nullish(),
  use_rslora: z.boolean().nullish(),
  use_dora: z.literal(false).nullish(),
  use_qalora: z.literal(false).nullish(),
  use_bdlora: z.null().optional(),
});
type Settings = z.infer<typeof settingsSchema>;

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

function sortTensors(
  tensors: Tensors,
  {
    origin,
    components,
    settings,
  }: { origin: string; components: readonly string[]; settings: Record<string, unknown> },
): LoraFile {
  const layers = new Map<string, Map<string, Partial<Record<Role, Tensor>>>>();
  const ignored: string[] = [];
  for (const [name, tensor] of Object.entries(tensors)) {
    const place = placeOf(name, components, origin);
    if (!place) {
      ignored.push(name);
      continue;
    }
    const { component, module, role } = place;
    const modules = layers.get(component) ?? new Map<string, Partial<Record<Role, Tensor>>>();
    const found = modules.get(module);
    if (found?.[role])
      throw new DejaDitError('INVALID_FILE', `tensor ${quote(name)} is a second ${what[role]} of its layer`, {
        path: origin,
      });
    layers.set(component, modules.set(module, { ...found, [role]: tensor }));
  }
  if (layers.size === 0) {
    const found = ignored.length > 0 ? 'is for text encoders only, which take no LoRA here' : 'holds no tensors';
    throw new DejaDitError('INVALID_FILE', found, { path: origin });
  }
  const complete = [...layers].map(([component, modules]) => {
    const own = parseSettings(settings, component, origin);
    const scaled = [...modules].map(([module, found]) => [module, layerOf(module, found, own, origin)] as const);
    return [component, new Map(scaled)] as const;
  });
  return { origin, components: new Map(complete), ignored };
}

/** Where a tensor belongs; undefined for text encoders. */
function placeOf(
  name: string,
  components: readonly string[],
  origin: string,
): { component: string; module: string; role: Role } | undefined {
  const unwrapped = name.replace(/^base_model\.model\./, '');
  const [, head, rest] = /^((?:text_encoder|transformer)(?:_\d+)?)\.(.+)$/.exec(unwrapped) ?? [];
  if (head?.startsWith('text_encoder')) return undefined;
  if (foreignNames.test(unwrapped)) {
    throw new DejaDitError(
      'UNSUPPORTED',
      `tensor ${quote(name)} is named as Kohya, ComfyUI or the model's first release do: load the file with Diffusers' load_lora_weights and save it with transformer.save_lora_adapter`,
      { path: origin },
    );
  }
  if (head !== undefined && !components.includes(head)) {
    throw new DejaDitError('NOT_FOUND', `tensor ${quote(name)} is for ${head}; this has ${components.join(' and ')}`, {
      path: origin,
    });
  }
  const full = rest ?? unwrapped;
  const [pattern, role] = roles.find(([candidate]) => candidate.test(full)) ?? [];
  if (!pattern || !role) {
    throw new DejaDitError(
      'UNSUPPORTED',
      `tensor ${quote(name)} is no low-rank matrix (lora_A, lora_B) and no alpha: DoRA, LoKr, biases and the like are not run`,
      { path: origin },
    );
  }
  return { component: head ?? components[0]!, module: full.replace(pattern, ''), role };
}

function layerOf(
  module: string,
  { down, up, alpha }: Partial<Record<Role, Tensor>>,
  settings: Settings | undefined,
  origin: string,
): LoraLayer {
  const bad = (message: string) =>
    new DejaDitError('INVALID_FILE', `layer ${quote(module)} ${message}`, { path: origin });
  if (!down || !up) throw bad(`has no ${down ? 'up matrix (lora_B)' : 'down matrix (lora_A)'}`);
  const rank = down.shape[0] ?? 0;
  if (!(rank > 0)) throw bad(`has a down matrix [${down.shape}] without a rank`);
  if (!alpha) return { down, up, scale: settings ? scaleOf(module, rank, settings) : 1 };
  if (settings) throw bad('has an alpha of its own although the settings of the adapter give one: remove either');
  const value = alpha.size === 1 ? Number(alpha.float().data[0]) : Number.NaN;
  if (!Number.isFinite(value)) throw bad('has an alpha that is no number');
  return { down, up, scale: value / rank };
}

function scaleOf(module: string, rank: number, { lora_alpha, alpha_pattern, use_rslora }: Settings): number {
  // As in PEFT: the first that is the end of the path, or with ^ all of it.
  const own = Object.entries(alpha_pattern ?? {}).find(([pattern]) =>
    pattern.startsWith('^') ? module === pattern.slice(1) : `.${module}`.endsWith(`.${pattern}`),
  );
  return (own?.[1] ?? lora_alpha) / (use_rslora ? Math.sqrt(rank) : rank);
}

/** The settings of one component; undefined where none are given, so that alpha is the rank. */
function parseSettings(all: Record<string, unknown>, component: string, origin: string): Settings | undefined {
  const prefix = `${component}.`;
  const own = Object.entries(all).filter(([name]) => name.startsWith(prefix));
  const named =
    own.length > 0 ? Object.fromEntries(own.map(([name, value]) => [name.slice(prefix.length), value])) : all;
  if (own.length === 0 && !('lora_alpha' in all)) return undefined;
  const result = settingsSchema.safeParse(named);
  if (result.success) return result.data;
  const { path: field, message } = result.error.issues[0]!;
  throw new DejaDitError('INVALID_FILE', `adapter settings: ${field.join('.')}: ${message}`, { path: origin });
}
