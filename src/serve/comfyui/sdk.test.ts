/** The client library that most use, over a real socket. */
import { CallWrapper, ComfyApi, PromptBuilder } from '@saintno/comfyui-sdk';
import { afterAll, expect, it } from 'vitest';
import { listen } from '../listen.ts';
import { startServer } from '../testing/start.ts';
import { graph } from './testing.ts';

it('draws with @saintno/comfyui-sdk, and again what was drawn before', { timeout: 60_000 }, async () => {
  const { address, close } = await listen(await startServer(), { port: 0 });
  afterAll(close);
  const api = new ComfyApi(address, 'sdk').init();
  try {
    await api.waitForReady();
    expect(await api.getCheckpoints()).toEqual(['emoji-flux']);
    expect((await api.getSamplerInfo()).sampler?.flat()).toContain('euler');
    const titled = Object.entries(graph({ 3: { steps: 12 } })).map(
      ([id, node]) => [id, { ...node, _meta: { title: node.class_type } }] as const,
    );
    const workflow = new PromptBuilder(Object.fromEntries(titled), ['seed'], ['images'])
      .setInputNode('seed', '3.inputs.seed')
      .setOutputNode('images', '9')
      .input('seed', 3);
    const draw = () =>
      new Promise<{ images: { images: { filename: string }[] } }>((resolve, reject) =>
        new CallWrapper(api, workflow)
          .onFinished((data) => resolve(data as never))
          .onFailed(reject)
          .run(),
      );
    const { images } = await draw();
    expect(images.images).toHaveLength(1);
    expect(images.images[0]!.filename).toMatch(/^apple_/);
    const { images: again } = await draw();
    expect(again).toEqual(images);
    const blob = await api.getImage(images.images[0] as never);
    expect((await blob.arrayBuffer()).byteLength).toBeGreaterThan(100);
  } finally {
    api.destroy();
  }
});
