/**
 * A span whose weights do not all fit into memory, behind the interface of a program: cut into sections that each need the
 * weights of one bucket, which is acquired just before its section runs and released right after.
 */
import { cutGraph, type Section } from '../../graph/cut.ts';
import type { Graph } from '../../graph/graph.ts';
import type { DeviceTensor } from '../../runtime/backend.ts';
import type { Program, ProgramCache } from '../../runtime/program-cache.ts';
import { runSections, type Stage } from '../../runtime/section-runner.ts';
import type { WeightBuckets } from '../../weights/offload/weight-buckets.ts';
import type { Weights } from '../../weights/weight-store.ts';

type Tensors = Readonly<Record<string, DeviceTensor>>;

/** A program that may be stopped between its sections. */
export interface SpanProgram {
  /** @param check called between sections; throws to stop */
  run(inputs: Tensors, check: () => void): Promise<Record<string, DeviceTensor>>;
  release(): void;
}

export interface BucketedProgramOptions {
  weights: Weights;
  buckets: WeightBuckets;
  programs: ProgramCache;
  /** As for `ProgramCache.program`, for any of the sections'. */
  onEvict: () => void;
}

export async function bucketedProgram(
  graph: Graph,
  { weights, buckets, programs, onEvict }: BucketedProgramOptions,
): Promise<SpanProgram> {
  // A block's operators run with its bucket even where they take no weights, so that equal blocks give equal sections.
  const sections = cutGraph(graph, (node, names) => {
    const own = names.map((name) => buckets.bucketOf(name)).find((bucket) => bucket !== undefined);
    return own ?? buckets.bucketOf(node.path);
  });
  const compiled: { section: Section<number>; program: Program }[] = [];
  const release = () => {
    for (const { program } of compiled) program.release();
  };
  try {
    for (const section of sections)
      compiled.push({ section, program: await programs.program(section.graph, { onEvict }) });
  } catch (error) {
    release();
    throw error;
  }
  const stages = compiled.map(
    ({ section, program }): Stage => ({
      section,
      async run(feeds) {
        const lease = section.key === undefined ? undefined : await buckets.acquire(section.key);
        try {
          const bound = section.graph.weights.map(({ slot, name }) => [slot, lease?.get(name) ?? weights.get(name)]);
          return await program.run({ ...feeds, ...Object.fromEntries(bound) });
        } finally {
          lease?.release();
        }
      },
    }),
  );
  return { release, run: (inputs, check) => runSections({ graph, stages, inputs, check }) };
}
