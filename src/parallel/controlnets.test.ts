/** Every ControlNet that is recorded computes on two ranks what it computes on one: its tokens dealt out, and its weights cut. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadModel } from '../models/auto-model.ts';
import { GraphModel } from '../models/graph-model.ts';
import { fixtures, relativeError } from '../models/testing/golden.ts';
import { readSafetensors } from '../weights/safetensors/safetensors.ts';
import { inOneThread } from './testing/ranks.ts';

const folder = path.join(fixtures, 'controlnets');

describe.each(readdirSync(folder))('%s', (name) => {
  it('on two ranks', async () => {
    await using net = (await loadModel(path.join(folder, name))) as GraphModel;
    expect(net).toBeInstanceOf(GraphModel);
    const tensors = Object.entries(await readSafetensors(path.join(folder, name, 'io.safetensors')));
    const inputs = {
      ...Object.fromEntries(tensors.filter(([key]) => !key.includes('samples'))),
      ...JSON.parse(readFileSync(path.join(folder, name, 'io.json'), 'utf8')),
    };
    const alone = await net.forward(inputs);
    for (const size of [{ ulysses: 2 }, { tensor: 2 }]) {
      net.moveTo(inOneThread(net, size));
      const together = await net.forward(inputs);
      for (const [key, output] of Object.entries(alone))
        expect(relativeError(together[key]!, output), key).toBeLessThan(1e-5);
      const { collectives } = net.programs.backend.ranksReport!;
      expect(collectives['ulysses' in size ? 'allToAll' : 'allReduce']!.bytes).toBeGreaterThan(0);
    }
  });
});
