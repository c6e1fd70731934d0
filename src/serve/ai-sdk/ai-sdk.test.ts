/** The real `ai` package against the server. */
import { generateImage } from 'ai';
import { beforeAll, expect, it } from 'vitest';
import { Image } from '../../images/image.ts';
import type { Server } from '../server.ts';
import { startServer } from '../testing/start.ts';
import { createDejaDit, type DejaDitProvider } from './ai-sdk.ts';

let server: Server;
let provider: DejaDitProvider;
beforeAll(async () => {
  server = await startServer({ apiKey: 'secret' });
  provider = createDejaDit({
    baseURL: 'http://localhost/',
    apiKey: 'secret',
    fetch: (url, init) => server.fetch(new Request(url as string, init)),
  });
});
const own = { providerOptions: { dejaDit: { numInferenceSteps: 3 } } };

it('draws, and draws from a picture', async () => {
  const settings = { model: provider.image(), size: '64x96', seed: 7, ...own } as const;
  const { images, warnings, providerMetadata } = await generateImage({ ...settings, prompt: 'red apple', n: 2 });
  expect(warnings).toEqual([]);
  expect(providerMetadata['dejaDit']).toMatchObject({ images: [{ seed: 7 }, { seed: 7 }] });
  expect(images.map(({ mediaType }) => mediaType)).toEqual(['image/png', 'image/png']);
  expect(await Image.load(images[1]!.uint8Array)).toMatchObject({ width: 64, height: 96 });
  const prompt = { text: 'green apple', images: [images[0]!.uint8Array] };
  const edited = await generateImage({ ...settings, prompt });
  expect(await Image.load(edited.image.uint8Array)).toMatchObject({ width: 64, height: 96 });
});

it('says what is wrong, and what has no effect', async () => {
  await expect(generateImage({ model: provider('nobody'), prompt: 'x', maxRetries: 0 })).rejects.toThrow(
    /no model 'nobody'/,
  );
  await expect(generateImage({ model: provider(), prompt: 'x', size: '63x63', maxRetries: 0 })).rejects.toThrow(
    /multiple of 16/,
  );
  const { warnings } = await generateImage({ model: provider('emoji-flux'), prompt: 'x', aspectRatio: '1:2', ...own });
  expect(warnings).toMatchObject([{ type: 'unsupported', feature: 'aspectRatio' }]);
});
