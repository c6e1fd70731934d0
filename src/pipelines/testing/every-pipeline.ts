/** A small checkpoint of every pipeline: the bundled model, and those of the recordings. */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';
import type { Pipeline } from '../pipeline.ts';
import { assembleCheckpoint, readRecording } from './recorded.ts';

export const pipelineNames = ['dit', 'flux', 'pixart_sigma', 'qwenimage', 'sd3', 'wan', 'zimage'] as const;

export interface OpenedPipeline {
  pipe: Pipeline;
  close(): Promise<void>;
}

/** Loads a pipeline; the caller closes it. */
export async function openPipeline(name: (typeof pipelineNames)[number]): Promise<OpenedPipeline> {
  if (name === 'flux') {
    const pipe = await DiffusionPipeline.fromPretrained(
      path.resolve(import.meta.dirname, '../../../models/emoji-flux'),
    );
    return { pipe, close: () => pipe.dispose() };
  }
  const root = assembleCheckpoint(readRecording(name).checkpoint);
  const remove = () => rmSync(root, { recursive: true, force: true });
  try {
    const pipe = await DiffusionPipeline.fromPretrained(root);
    return { pipe, close: () => pipe.dispose().finally(remove) };
  } catch (error) {
    remove();
    throw error;
  }
}
