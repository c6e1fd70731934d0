/** Where a page may have a model from, in a real browser: hubs, folders and dropped files. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadModel } from '../../src/models/auto-model.ts';
import type { GraphModel } from '../../src/models/graph-model.ts';
import { Tensor } from '../../src/tensor/tensor.ts';
import type { LoadModelOptions, ModelSource } from '../../src/web.ts';
import { HubServer } from '../../src/weights/hub/testing/hub-server.ts';
import { hasChromium, launch } from './chromium.ts';
import { bundledModel, LibraryPage } from './library-page.ts';
import type { StaticServer } from './static-server.ts';

const repository = 'some-org/encoder';
/** Words, and the end of the text. */
const ids = [...Array.from({ length: 23 }, (_, i) => 53 * i), 4095];

/** What a page loads and computes; the pooled output. */
declare function pooled(source: ModelSource, options?: LoadModelOptions): Promise<number[]>;

const filesOf = (folder: string): Record<string, Buffer> =>
  Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(path.join(folder, name))]));

describe.skipIf(!hasChromium())('models in a page', () => {
  let files: LibraryPage;
  let server: StaticServer;
  let browser: Browser;
  let page: Page;
  let expected: number[];
  beforeAll(async () => {
    files = await LibraryPage.build();
    server = await files.serve();
    browser = await launch();
    const encoder = (await loadModel(path.join(bundledModel, 'text_encoder'), { backend: 'wasm' })) as GraphModel;
    const { pooler_output } = await encoder.forward({
      input_ids: new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]),
    });
    expected = [...pooler_output!.f32];
    await encoder.dispose();
  });
  afterAll(async () => {
    await browser?.close();
    await server?.[Symbol.asyncDispose]();
    files?.[Symbol.dispose]();
  });
  beforeEach(async () => {
    await page?.context().close();
    page = await files.open(server, browser);
    await page.evaluate((ids) => {
      const pooled = async (source: ModelSource, options: LoadModelOptions = {}) => {
        const encoder = await dejaDit.loadModel(source, options);
        try {
          if (encoder.kind !== 'graph') throw new Error('another model was loaded');
          const data = BigInt64Array.from(ids, BigInt);
          const outputs = await encoder.forward({ input_ids: new dejaDit.Tensor('int64', data, [1, ids.length]) });
          return [...outputs['pooler_output']!.f32];
        } finally {
          await encoder.dispose();
        }
      };
      Object.assign(globalThis, { pooled });
    }, ids);
  });

  it('come from a hub of another origin, with a token, and from storage the next time', async () => {
    const hub = await HubServer.start(repository, filesOf(path.join(bundledModel, 'text_encoder')));
    try {
      const load = () =>
        page.evaluate(([name, options]) => pooled(name, options), [
          repository,
          { hubUrl: hub.url, revision: 'v1.0', token: 'hf_secret' },
        ] as const);
      expect(await load()).toEqual(expected);
      expect(new Set(hub.requests.map(({ authorization }) => authorization))).toEqual(new Set(['Bearer hf_secret']));
      await hub.stop();
      expect(await load()).toEqual(expected);
      expect(await page.evaluate(() => dejaDit.keptModels())).toEqual([
        { name: `${repository}@v1.0`, bytes: expect.any(Number) },
      ]);
      await page.evaluate(() => dejaDit.removeModel('some-org/encoder@v1.0'));
      const again = page.evaluate(([name, options]) => pooled(name, options), [
        repository,
        { hubUrl: hub.url, revision: 'v1.0', retries: 0 },
      ] as const);
      await expect(again).rejects.toThrow(/connection to http.* failed/);
    } finally {
      await hub.stop();
    }
  });

  it('come from a folder that the page was given', async () => {
    const actual = await page.evaluate(async () => {
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('given', { create: true });
      for (const name of ['config.json', 'model.safetensors']) {
        const stream = await (await folder.getFileHandle(name, { create: true })).createWritable();
        await stream.write(await (await fetch(`./model/text_encoder/${name}`)).blob());
        await stream.close();
      }
      return pooled(folder);
    });
    expect(actual).toEqual(expected);
  });

  it('come from files that were dropped', async () => {
    const actual = await page.evaluate(async () => {
      const transfer = new DataTransfer();
      for (const name of ['config.json', 'model.safetensors'])
        transfer.items.add(new File([await (await fetch(`./model/text_encoder/${name}`)).blob()], name));
      const drop = new Promise<DragEvent>((resolve) => addEventListener('drop', resolve, { once: true }));
      document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true }));
      return pooled(await dejaDit.dropped((await drop).dataTransfer!));
    });
    expect(actual).toEqual(expected);
  });
});
