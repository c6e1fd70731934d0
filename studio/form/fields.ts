/** The fields of a form, from the options that a model takes: what kind each is, its name for people, and what is wrong with a value. */
import type { ModelView, Schema } from '../api/types.ts';

export type FieldKind = 'text' | 'number' | 'flag' | 'choice' | 'numbers' | 'picture' | 'json' | 'text-or-json';

export interface Field {
  name: string;
  label: string;
  help: string;
  kind: FieldKind;
  required: boolean;
  default: unknown;
  min?: number;
  max?: number;
  /** Values are multiples of it; 1 for integers. */
  step?: number;
  choices: readonly string[];
}

export interface FieldGroup {
  title: string;
  fields: readonly Field[];
}

const labels: Readonly<Record<string, string>> = {
  numInferenceSteps: 'Steps',
  numImages: 'Pictures',
  numFrames: 'Frames',
  guidanceScale: 'Guidance',
  trueCfgScale: 'Guidance',
  image: 'Starting picture',
  maskImage: 'Mask',
  lastImage: 'Last picture',
  video: 'Frames to start from',
  loras: 'LoRAs',
};

/** Shown before all others; the rest is in groups. */
const first = ['image', 'maskImage', 'lastImage', 'strength', 'width', 'height', 'numFrames', 'numInferenceSteps'];
/** Without a picture these have no effect. */
export const ofPictures: readonly string[] = ['strength'];
/** These have places of their own. */
const elsewhere = ['prompt', 'negativePrompt', 'classLabels', 'seed', 'cache'];

export function fieldsOf(model: ModelView | undefined): { main: Field[]; more: FieldGroup[]; all: Map<string, Field> } {
  const { properties = {}, required = [] } = model?.options ?? {};
  const all = new Map(
    Object.entries(properties).map(([name, schema]) => [name, fieldOf(name, schema, required.includes(name))]),
  );
  // Where several guide, the model says which one does.
  const guides = [...all.values()].filter(({ label }) => label === 'Guidance');
  for (const field of guides) if (field.name !== model?.guidance && guides.length > 1) field.label = words(field.name);
  const names = [...first, ...(model?.guidance ? [model.guidance] : []), 'numImages'];
  const main = names.flatMap((name) => all.get(name) ?? []);
  const rest = (name: string) => !names.includes(name) && !elsewhere.includes(name);
  const more = (model?.groups ?? []).map(({ title, options }) => ({
    title,
    fields: options.filter(rest).flatMap((name) => all.get(name) ?? []),
  }));
  return { main, more: more.filter(({ fields }) => fields.length > 0), all };
}

function fieldOf(name: string, schema: Schema, required: boolean): Field {
  const { kind, of } = kindOf(schema);
  const integer = kind === 'number' && typesOf(of).includes('integer');
  const step = of.multipleOf ?? (integer ? 1 : undefined);
  return {
    name,
    label: labels[name] ?? words(name),
    help: schema.description ?? '',
    kind,
    required,
    default: schema.default,
    ...(of.minimum === undefined ? {} : { min: of.minimum }),
    ...(of.maximum === undefined ? {} : { max: of.maximum }),
    ...(step === undefined ? {} : { step }),
    choices: (of.enum ?? []).filter((value) => value !== null).map(String),
  };
}

/** The kind, and the alternative of the schema that it comes from. */
function kindOf(schema: Schema): { kind: FieldKind; of: Schema } {
  const alternatives = flat(schema).filter((one) => !typesOf(one).every((type) => type === 'null'));
  const found = (test: (one: Schema) => boolean) => alternatives.find(test);
  const is = (type: string) => found((one) => typesOf(one).includes(type));
  const items = alternatives.flatMap((one) => (one.items ? flat(one.items) : []));
  if ([...alternatives, ...items].some(({ contentMediaType }) => contentMediaType)) return { kind: 'picture', of: {} };
  const choice = found((one) => one.enum !== undefined);
  if (choice) return { kind: 'choice', of: choice };
  const [text, number, flag, list, object] = [
    is('string'),
    is('number') ?? is('integer'),
    is('boolean'),
    is('array'),
    is('object'),
  ];
  if (text && object) return { kind: 'text-or-json', of: text };
  if (object || (flag && number)) return { kind: 'json', of: object ?? {} };
  if (number && !text) return { kind: 'number', of: number };
  if (text) return { kind: 'text', of: text };
  if (flag) return { kind: 'flag', of: flag };
  if (list) return { kind: 'numbers', of: list };
  return { kind: 'json', of: schema };
}

const flat = (schema: Schema): Schema[] => schema.anyOf?.flatMap(flat) ?? [schema];
const typesOf = ({ type }: Schema): readonly string[] => (type === undefined ? [] : ([type].flat() as string[]));

/** `maxSequenceLength`: Max sequence length. */
function words(name: string): string {
  const spaced = name.replace(/([a-z])([A-Z0-9])/g, '$1 $2').toLowerCase();
  return spaced[0]!.toUpperCase() + spaced.slice(1);
}

/** What is wrong with a value before the server has seen it, in a line. */
export function wrongWith({ kind, min, max, step }: Field, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (kind === 'number') {
    const number = Number(value);
    if (!Number.isFinite(number)) return 'must be a number';
    if (min !== undefined && number < min) return `must be at least ${min}`;
    if (max !== undefined && number > max) return `must be at most ${max}`;
    if (step !== undefined && Math.abs(number / step - Math.round(number / step)) > 1e-9)
      return step === 1 ? 'must be a whole number' : `must be a multiple of ${step}`;
  }
  if (kind === 'json' || (kind === 'text-or-json' && String(value).trim().startsWith('{'))) {
    try {
      JSON.parse(String(value));
    } catch {
      return 'is no valid JSON';
    }
  }
  if (kind === 'numbers' && numbersIn(String(value)).some((number) => !Number.isFinite(number)))
    return 'must be numbers, with commas between them';
  return undefined;
}

const numbersIn = (text: string): number[] =>
  text
    .split(/[\s,]+/)
    .filter(Boolean)
    .map(Number);

/** A value as requests bring it. Fields keep what was typed. */
export function asSent({ kind }: Field, value: unknown): unknown {
  if (kind === 'number') return Number(value);
  if (kind === 'numbers') return numbersIn(String(value));
  if (kind === 'json' || (kind === 'text-or-json' && String(value).trim().startsWith('{')))
    return JSON.parse(String(value));
  return value;
}

/** The other way round. */
export function asTyped({ kind }: Field, value: unknown): unknown {
  if (kind === 'numbers') return [value].flat().join(', ');
  if (kind === 'json' || (kind === 'text-or-json' && typeof value === 'object')) return JSON.stringify(value);
  if (kind === 'text' && Array.isArray(value)) return value.join('\n');
  return value;
}
