/**
 * Runs the sections of a graph that was cut, one after the other: computed by a program, with weights that are there only while it runs, or
 * exchanged with other ranks. What a section needs and makes is known here, how it is run only to the section.
 */
import type { Section } from '../graph/cut.ts';
import type { Graph } from '../graph/graph.ts';
import type { DeviceTensor } from './backend.ts';
import { disposeTensors } from './tensor-table.ts';

type Tensors = Readonly<Record<string, DeviceTensor>>;

export interface Stage {
  readonly section: Pick<Section<unknown>, 'inputs' | 'outputs' | 'spent'>;
  /**
   * Inputs by the section's names; outputs become the caller's. The inputs may be disposed as soon as it has been called.
   */
  run(feeds: Readonly<Record<string, DeviceTensor>>): Promise<Tensors>;
  /** Goes on beside the sections after it, up to the first that needs what it makes. */
  readonly background?: boolean;
}

export interface SectionRun {
  graph: Pick<Graph, 'outputs'>;
  stages: readonly Stage[];
  /** By the graph's names; they stay the caller's. */
  inputs: Tensors;
  /** Called before each section; throws to stop. */
  check?: (() => void) | undefined;
}

/** @returns the graph's outputs, which are the caller's */
export async function runSections({ graph, stages, inputs, check }: SectionRun): Promise<Record<string, DeviceTensor>> {
  const made = new Map<string, DeviceTensor>();
  /** Values that are on their way. */
  const coming = new Map<string, Promise<void>>();
  const keep = ({ section }: Stage, results: Tensors): void => {
    for (const [name, value] of section.outputs) made.set(value, results[name]!);
  };
  try {
    for (const stage of stages) {
      check?.();
      const { section } = stage;
      const feeds: Record<string, DeviceTensor> = {};
      for (const [name, value] of section.inputs) {
        await coming.get(value);
        feeds[name] = made.get(value) ?? inputs[value]!;
      }
      const run = stage.run(feeds).then((results) => keep(stage, results));
      if (stage.background) {
        // Whoever needs it gets the error; so does the end.
        run.catch(() => undefined);
        for (const value of section.outputs.values()) coming.set(value, run);
      } else await run;
      for (const value of section.spent) {
        made.get(value)?.dispose();
        made.delete(value);
      }
    }
    await Promise.all(coming.values());
    const outputs = [...graph.outputs].map(([name, { value }]) => [name, made.get(value)!] as const);
    for (const { value } of graph.outputs.values()) made.delete(value);
    return Object.fromEntries(outputs);
  } finally {
    await Promise.allSettled(coming.values());
    disposeTensors(made.values());
  }
}
