/**
 * What the tensors of a model are called where it was first released, and in ComfyUI, beside the names that Diffusers gives them.
 * Each family has one table; checkpoints in one file (`renamed-weights.ts`) and LoRAs (`lora/fit-lora.ts`) are read by it.
 */

/**
 * By original module: Diffusers' module, or how it is made of the original's rows. `#` stands for the number of a block, as often and in
 * the same order on both sides. What follows a module's name (`.weight`, `.bias`) is kept; an entry may name a tensor to its end instead.
 */
export type NameTable = Readonly<Record<string, string | CutModule>>;

/** Rows `from` to `to` (exclusive) of an original weight. */
export type RowRange = readonly [from: number, to: number];

/** A module whose rows Diffusers holds in several modules, or in another order. */
export interface CutModule {
  readonly into: readonly string[];
  /**
   * The rows of each, from the size of the original.
   * @param inner columns of the weight
   */
  rows(out: number, inner: number): readonly (readonly RowRange[])[];
  /** Whether the axes of a kernel of one pixel are left out. Default false. */
  readonly isMatrix?: boolean;
}

/** Rows of equal number for each module: fused queries, keys and values. */
export function evenly(...into: string[]): CutModule {
  return cutBy(into, (out) => into.map(() => out / into.length));
}

/** So many rows for each module; where one is undefined, the rest. */
export function cutBy(
  into: readonly string[],
  sizes: (out: number, inner: number) => readonly (number | undefined)[],
): CutModule {
  return {
    into,
    rows(out, inner) {
      const wanted = sizes(out, inner);
      const rest = out - wanted.reduce<number>((sum, size) => sum + (size ?? 0), 0);
      let end = 0;
      return wanted.map((size = rest) => {
        const from = end;
        end += size;
        return [[from, end]];
      });
    },
  };
}

/** The second half of the rows before the first: original output norms say (shift, scale), Diffusers (scale, shift). */
export function halvesSwapped(module: string): CutModule {
  return {
    into: [module],
    rows: (out) => [
      [
        [out / 2, out],
        [0, out / 2],
      ],
    ],
  };
}

/** As it is, but a kernel of one pixel is a matrix here. */
export function withoutKernel(module: string): CutModule {
  return { into: [module], rows: (out) => [[[0, out]]], isMatrix: true };
}

/** `<from>.<part>` to `<to>.<name>` for each part. */
export function under(from: string, to: string, parts: Readonly<Record<string, string>>): NameTable {
  return Object.fromEntries(Object.entries(parts).map(([part, name]) => [`${from}.${part}`, `${to}.${name}`]));
}

/** A module of Diffusers in the light of an original one. */
export interface OriginalPart {
  readonly module: string;
  /** Undefined: the two are the same. */
  readonly cut: { readonly place: number; readonly of: CutModule } | undefined;
}

/** The original names of a model's modules. */
export function originalModules(table: NameTable, modules: Iterable<string>): Map<string, OriginalPart[]> {
  const known = [...modules];
  const found = new Map<string, OriginalPart[]>();
  for (const [original, place] of Object.entries(table)) {
    const targets = typeof place === 'string' ? [place] : place.into;
    for (const [index, target] of targets.entries()) {
      const pattern = patternOf(target);
      for (const module of known) {
        const numbers = pattern.exec(module)?.slice(1);
        if (!numbers) continue;
        const name = fill(original, numbers);
        const part = { module, cut: typeof place === 'string' ? undefined : { place: index, of: place } };
        found.set(name, [...(found.get(name) ?? []), part]);
      }
    }
  }
  return found;
}

/** What matches a name of a table, its numbers as groups. */
export function patternOf(name: string, end = ''): RegExp {
  const literal = name.split('#').map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${literal.join('(\\d+)')}${end}$`);
}

/** What may follow a module's name: what the module holds, and what beside it says how that is stored. */
export const leaves =
  'weight|bias|scale_weight|weight_scale|weight_scale_inv|scale_input|input_scale|comfy_quant|SCB|weight_format';

/** A name of a table with numbers in it. */
export function fill(name: string, numbers: readonly string[]): string {
  let next = 0;
  return name.replaceAll('#', () => numbers[next++]!);
}
