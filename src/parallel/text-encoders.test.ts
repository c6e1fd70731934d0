/** Every text encoder that is recorded, with its weights cut over two ranks, computes what one process computes. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { fixtures, relativeError } from '../models/testing/golden.ts';
import { loadEncoder } from '../models/text-encoders/testing/parity.ts';
import { readSafetensors } from '../weights/safetensors/safetensors.ts';
import type { ParallelBackend } from './backend/parallel-backend.ts';
import { inOneThread } from './testing/ranks.ts';

const folder = path.join(fixtures, 'text-encoders');
const names = readdirSync(folder).filter((name) => existsSync(path.join(folder, name, 'config.json')));

/** Whose tables, which stay whole, are large beside their few narrow layers. */
const small = ['clip_vision', 'ministral3_yarn', 'qwen3_vl_pictures', 't5_long'];

describe.each(names)('%s', (name) => {
  it('on two ranks', async () => {
    await using model = await loadEncoder(path.join(folder, name), { deferWeights: true });
    const golden = await readSafetensors(path.join(folder, name, 'io.safetensors'));
    const given = ['input_ids', 'attention_mask', 'pixel_values', 'image_grid_thw', 'mm_token_type_ids'].filter(
      (input) => input in golden,
    );
    const inputs = {
      ...Object.fromEntries(given.map((input) => [input, golden[input]])),
      output_hidden_states: true,
    };
    model.moveTo(inOneThread(model, { tensor: 2 }));
    const together = await model.forward(inputs);
    const backend = model.programs.backend as ParallelBackend;
    expect(backend.ranksReport.collectives['allReduce']!.bytes).toBeGreaterThan(0);
    const held = (await backend.crew.ranks()).ranks.map((rank) => rank.backend.live.bytes);
    model.moveTo();
    const alone = await model.forward(inputs);
    expect(Object.keys(together)).toEqual(Object.keys(alone));
    for (const [output, tensor] of Object.entries(alone))
      expect(relativeError(together[output]!, tensor), output).toBeLessThan(1e-5);
    // Layers and, where there are more words than are read, embeddings.
    for (const bytes of held) expect(bytes / model.weights.bytes).toBeLessThan(small.includes(name) ? 0.7 : 0.6);
  });
});
