import { rmSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';
import { itCaches } from '../testing/cached.ts';
import { assembleCheckpoint, itReproducesDiffusers, readRecording } from '../testing/recorded.ts';

describe('SkyReelsV2Pipeline', () => {
  const pipe = itReproducesDiffusers('skyreels_v2');
  itCaches(pipe, 'skyreels_v2');

  it('leaves videos without end to other classes', async () => {
    const { checkpoint } = readRecording('skyreels_v2');
    const root = assembleCheckpoint({ ...checkpoint, className: 'SkyReelsV2DiffusionForcingPipeline' });
    try {
      await expect(DiffusionPipeline.fromPretrained(root)).rejects.toThrow(
        /'SkyReelsV2DiffusionForcingPipeline' is not supported; its SkyReelsV2Transformer3DModel is supported/,
      );
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});
