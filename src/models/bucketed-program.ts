/**
 * A span whose weights do not all fit into memory, behind the interface of a program: cut into sections that each need the
 * weights of one bucket, which is acquired just before its section runs and released right after.
 */
import { throwIfAborted } from '../errors/errors.ts';
import { cutGraph, type Section } from '../graph/cut.ts';
import type { Graph } from '../graph/graph.ts';
import type { DeviceTensor } from '../runtime/backend.ts';
import type { Program, ProgramCache } from '../runtime/program-cache.ts';
import type { WeightBuckets } from '../weights/offload/weight-buckets.ts';
import type { Weights } from '../weights/weight-store.ts';

type Tensors = Readonly<Record<string, DeviceTensor>>;

/** A program that may be stopped between its sections. */
export interface SpanProgram {
  run(inputs: Tensors, signal?: AbortSignal): Promise<Record<string, DeviceTensor>>;
}

export async function bucketedProgram(
  graph: Graph,
  { weights, buckets, programs }: { weights: Weights; buckets: WeightBuckets; programs: ProgramCache },
): Promise<SpanProgram> {
  // A block's operators run with its bucket even where they take no weights, so that equal blocks give equal sections.
  const sections = cutGraph(graph, (node, names) => {
    const own = names.map((name) => buckets.bucketOf(name)).find((bucket) => bucket !== undefined);
    return own ?? buckets.bucketOf(node.path);
  });
  const compiled: { section: Section<number>; program: Program }[] = [];
  for (const section of sections) compiled.push({ section, program: await programs.program(section.graph) });
  return {
    async run(inputs, signal) {
      const values = new Map(Object.entries(inputs));
      for (const { section, program } of compiled) {
        throwIfAborted(signal);
        const lease = section.key === undefined ? undefined : await buckets.acquire(section.key);
        try {
          const feeds: Record<string, DeviceTensor> = {};
          for (const [name, value] of section.inputs) feeds[name] = values.get(value)!;
          for (const { slot, name } of section.graph.weights) feeds[slot] = lease?.get(name) ?? weights.get(name);
          const results = await program.run(feeds);
          for (const [name, value] of section.outputs) values.set(value, results[name]!);
        } finally {
          lease?.release();
        }
        for (const value of section.spent) {
          values.get(value)!.dispose();
          values.delete(value);
        }
      }
      return Object.fromEntries([...graph.outputs].map(([name, { value }]) => [name, values.get(value)!]));
    },
  };
}
