/** LoRAs on loaded models: which component takes which part of a file, and when. How they are read and run is in `weights/lora`. */
import { DejaDitError } from '../../errors/errors.ts';
import { warn } from '../../errors/warnings.ts';
import type { GraphModel } from '../../models/graph-model.ts';
import { lockAll } from '../../models/occupancy.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { fitLora } from '../../weights/lora/fit-lora.ts';
import { readLora } from '../../weights/lora/lora-file.ts';
import type { Addition, LoraSelection, LoraWeights } from '../../weights/lora/lora-weights.ts';
import { additionsFor } from './additions.ts';

/** A model, or a pipeline with transformers and text encoders: tensors go to the component that their names say, by default the first transformer. */
export type LoraTarget = LoraModel | LoraPipeline;

type LoraModel = TransformerModel | GraphModel;

interface LoraPipeline {
  readonly transformers: Readonly<Record<string, TransformerModel>>;
  /** Text encoders by component name. */
  readonly models?: Readonly<Record<string, GraphModel>> | undefined;
}

export interface LoraOptions {
  /** Multiplies what the LoRA adds, in requests that do not say otherwise (`GenerateOptions.loras`). Default 1. */
  strength?: number | undefined;
  /** Several LoRAs add up under different names; one of the same name is replaced. Default `default`. */
  name?: string | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Loads a LoRA (arXiv 2106.09685), DoRA, LoKr or LoHa beside a model's weights, be they quantised or offloaded; these do not change. All
 * of it is checked before any of it is used.
 * @param source a safetensors file or folder, or its tensors, under the names of Diffusers, PEFT, Kohya's scripts, ComfyUI and others
 * @throws DejaDitError naming the file, tensor or layer that does not fit; BUSY while a request uses the model
 * @example
 * await loadLora(pipe, 'style.safetensors', { strength: 0.8 });
 */
export async function loadLora(
  target: LoraTarget,
  source: string | Readonly<Record<string, Tensor>>,
  { strength = 1, name = 'default', signal }: LoraOptions = {},
): Promise<void> {
  if (!Number.isFinite(strength))
    throw new DejaDitError('INVALID_ARGUMENT', `${strength} is no finite number`, { path: 'strength' });
  if (typeof name !== 'string' || name === '')
    throw new DejaDitError('INVALID_ARGUMENT', 'must be a string that is not empty', { path: 'name' });
  const models = modelsOf(target);
  const { origin, components, ignored } = await readLora(source, { components: Object.keys(models), signal });
  const fitted = [...components].map(([component, layers]) => {
    const model = models[component]!;
    const { weights, definition } = model;
    return {
      component,
      model,
      lora: loraOf(model),
      layers: fitLora(layers, { weights, origin, names: definition.originalNames }),
    };
  });
  if (ignored.length > 0) {
    const more = ignored.length > 1 ? ` and ${ignored.length - 1} more` : '';
    warn(`${origin}: what is for text encoders is not used: '${ignored[0]}'${more}`);
  }
  const unlock = lockAll(Object.values(models), 'loadLora');
  try {
    const ready: { lora: LoraWeights; additions: Map<string, Addition> }[] = [];
    for (const { model, lora, layers } of fitted) ready.push({ lora, additions: await additionsFor(model, layers) });
    // A file for one expert only must not leave the other with what it replaces.
    for (const { weights } of Object.values(models)) weights.lora?.delete(name);
    for (const { lora, additions } of ready) lora.set(name, { additions, strength });
    for (const { component, model } of fitted) {
      if (model.kind !== 'graph' || 'runner' in target) continue;
      for (const { weights } of Object.values(target.transformers))
        weights.lora?.bound.set(name, { component, strength });
    }
    Object.values(models).forEach(renew);
  } finally {
    unlock();
  }
}

/**
 * Takes a LoRA out, or all of them; the model then computes what it did before.
 * @throws DejaDitError NOT_FOUND if there is none of that name; BUSY while a request uses the model
 * @example
 * unloadLora(pipe, 'style');
 */
export function unloadLora(target: LoraTarget, name?: string): void {
  const models = Object.values(modelsOf(target));
  const loaded = loadedNames(models);
  if (name === undefined ? loaded.size === 0 : !loaded.has(name)) throw notLoaded(name, loaded);
  const unlock = lockAll(models, 'unloadLora');
  for (const each of name === undefined ? loaded : [name]) for (const { weights } of models) weights.lora?.delete(each);
  models.forEach(renew);
  unlock();
}

/** The LoRAs of one request: which of the loaded ones apply to it, and how strongly. */
export class RequestLoras {
  private readonly selections: LoraSelection[] = [];

  /**
   * @param strengths by name; undefined: whatever is loaded, at the strengths it was loaded with
   * @throws DejaDitError NOT_FOUND naming what is loaded, INVALID_ARGUMENT for a strength that is no number
   */
  constructor(
    models: Readonly<Record<string, LoraModel>>,
    private readonly strengths: Readonly<Record<string, number>> | undefined,
  ) {
    if (strengths === undefined) return;
    if (typeof strengths !== 'object' || strengths === null || Array.isArray(strengths))
      throw new DejaDitError('INVALID_ARGUMENT', 'expected strengths by name, as in { style: 0.8 }', { path: 'loras' });
    const loaded = loadedNames(Object.values(models));
    for (const [name, strength] of Object.entries(strengths)) {
      if (!loaded.has(name)) throw notLoaded(name, loaded, 'loras');
      if (!Number.isFinite(strength))
        throw new DejaDitError('INVALID_ARGUMENT', `${strength} is no finite number`, { path: `loras.${name}` });
    }
    for (const { weights } of Object.values(models)) {
      for (const [name, { component, strength }] of weights.lora?.bound ?? []) {
        if ((strengths[name] ?? 0) === strength) continue;
        throw new DejaDitError(
          'UNSUPPORTED',
          `this LoRA changes the ${component} too, at strength ${strength} for all requests; load it at another, or unload it`,
          { path: `loras.${name}` },
        );
      }
    }
  }

  /** Those that apply to a model's calls, until `dispose`. */
  of({ weights }: LoraModel): LoraSelection | undefined {
    const selection = this.strengths && weights.lora?.select(this.strengths);
    if (selection) this.selections.push(selection);
    return selection;
  }

  dispose(): void {
    for (const selection of this.selections.splice(0)) selection.dispose();
  }
}

function loadedNames(models: readonly LoraModel[]): Set<string> {
  return new Set(models.flatMap(({ weights: { lora } }) => (lora ? [...lora.names, ...lora.bound.keys()] : [])));
}

function notLoaded(name: string | undefined, loaded: ReadonlySet<string>, path?: string): DejaDitError {
  const asked = name === undefined ? 'no LoRA is loaded' : `no LoRA '${name}' is loaded`;
  const message = loaded.size > 0 ? `${asked}; there is ${[...loaded].join(', ')}` : asked;
  return new DejaDitError('NOT_FOUND', message, path === undefined ? {} : { path });
}

function modelsOf(target: LoraTarget): Readonly<Record<string, LoraModel>> {
  if (!('runner' in target)) return { ...target.transformers, ...target.models };
  return target.kind === 'graph' ? { text_encoder: target } : { transformer: target };
}

function loraOf({ weights, className }: LoraModel): LoraWeights {
  if (weights.lora) return weights.lora;
  throw new DejaDitError('UNSUPPORTED', `the weights of this ${className} take no LoRA`, { path: weights.origin });
}

/** Spans know their weights from when they were built, and a session what they computed. */
function renew(model: LoraModel): void {
  if (model.kind === 'transformer') model.endImplicitSession();
  model.runner.reset();
}
