/** Pipelines whose transformers and text encoders are read while they run draw the same pictures. */
import { rmSync } from 'node:fs';
import { expect, it } from 'vitest';
import { DiffusionPipeline } from './diffusion-pipeline.ts';
import { assembleCheckpoint, optionsOf, readRecording } from './testing/recorded.ts';

it.each([
  ['flux', ['transformer']],
  ['sd3', ['transformer']],
  ['wan22_moe', ['transformer', 'transformer_2']],
])('%s', async (name, transformers) => {
  const { checkpoint, runs } = readRecording(name);
  const root = assembleCheckpoint(checkpoint);
  try {
    const [whole, offloaded] = [
      await DiffusionPipeline.fromPretrained(root),
      await DiffusionPipeline.fromPretrained(root, { layerwiseOffload: true, layerwiseTextOffload: true }),
    ];
    const options = await optionsOf(name, runs[0]!);
    const [expected, found] = [await whole.generate(options), await offloaded.generate(options)];
    const pictures = ({ images, videos }: typeof found) =>
      [...images, ...videos.flatMap(({ frames }) => frames)].map(({ data }) => data);
    expect(pictures(found)).toEqual(pictures(expected));
    expect(Object.keys(offloaded.transformers)).toEqual(transformers);
    for (const { offloadSummary } of Object.values(offloaded.transformers))
      expect(offloadSummary!.bytesRead).toBeGreaterThan(offloadSummary!.bytesPerForward);
    await Promise.all([whole.dispose(), offloaded.dispose()]);
  } finally {
    rmSync(root, { recursive: true });
  }
});

it('a pipeline without text encoders has none to offload', async () => {
  const root = assembleCheckpoint(readRecording('dit').checkpoint);
  try {
    await expect(DiffusionPipeline.fromPretrained(root, { layerwiseTextOffload: true })).rejects.toThrow(
      'layerwiseTextOffload: a DiTPipeline has no text encoder',
    );
  } finally {
    rmSync(root, { recursive: true });
  }
});
