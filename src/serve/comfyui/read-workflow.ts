/** Graphs from files: in ComfyUI's API format as JSON, or within a PNG that ComfyUI or this server drew. */
import { DejaDitError } from '../../errors/errors.ts';
import { parseJson } from '../../files/json.ts';
import { isPng } from '../../images/png-chunks.ts';
import { readPngTexts } from '../../images/png-texts.ts';
import { type Graph, graphSchema } from './graph/graph.ts';

/** @throws DejaDitError INVALID_FILE if there is none in it, saying how to come by one */
export function readWorkflow(bytes: Uint8Array, path: string): Graph {
  const text = isPng(bytes) ? readPngTexts(bytes, ['prompt']).get('prompt') : new TextDecoder().decode(bytes);
  const invalid = (message: string) => new DejaDitError('INVALID_FILE', message, { path });
  if (text === undefined) throw invalid('is a PNG without a graph in it; those have one that ComfyUI drew');
  const json = parseJson(text, { path });
  if (Array.isArray(json['nodes']))
    throw invalid('is a workflow as the page saves it; export it in API format (File, Export (API))');
  const graph = graphSchema.safeParse(json['prompt'] ?? json);
  if (graph.success) return graph.data;
  throw invalid('is no graph in API format: nodes by id, each with class_type and inputs');
}
