/** Where a page may have a model from, in a real browser: hubs, folders, dropped files, and a download that broke off. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
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

  it('that are not to be had say what a page can do', async () => {
    const hub = await HubServer.start(repository, {});
    const { url } = hub;
    const failure = (source: string) =>
      page.evaluate(
        ([source, options]) =>
          dejaDit.loadModel(source, options).then(
            () => 'no error',
            (error: Error) => error.message,
          ),
        [source, { hubUrl: url, retries: 0 }] as const,
      );
    try {
      hub.fault = () => ({ status: 401 });
      expect(await failure(repository)).toMatch(/refuses access \(401\): .*, and pass an access token as `token`$/);
      hub.fault = () => ({ status: 429 });
      expect(await failure(repository)).toMatch(/fewer requests \(429\): .*, or pass an access token as `token`/);
      expect(await failure(url)).toMatch(/manifest\.json: is not there: write it with `deja-dit manifest <folder>`/);
    } finally {
      await hub.stop();
    }
    expect(await failure(repository)).toMatch(/connection to http.* failed \(Failed to fetch\): .*\(CORS\)/);
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

  describe('a download that breaks off', () => {
    /** As large as the library's. */
    const part = 16 * 2 ** 20;
    const first = `bytes=0-${part - 1}`;
    const second = `bytes=${part}-${2 * part - 1}`;
    const weights = 'diffusion_pytorch_model.safetensors';
    const contents = filesOf(path.join(bundledModel, 'transformer'));
    const last = `bytes=${2 * part}-${contents[weights]!.length - 1}`;
    let hub: HubServer;
    /** The ranges that were asked for; the browser may ask for one twice. */
    let asked: Set<string>;
    const load = async () => {
      hub.requests.length = 0;
      const loading = page.evaluate(
        async ([name, options]) => {
          const model = await dejaDit.loadModel(name, options);
          await model.dispose();
        },
        [repository, { hubUrl: hub.url, retries: 0 }] as const,
      );
      await loading.finally(() => {
        asked = new Set(hub.requests.filter(({ path }) => path === weights).map(({ range }) => range!));
      });
    };
    beforeEach(async () => {
      hub = await HubServer.start(repository, contents);
      hub.fault = (_, range) => (range === second ? { status: 503 } : undefined);
      await expect(load()).rejects.toThrow(/answered with an error \(503\)/);
      hub.fault = () => undefined;
    });
    afterEach(() => hub.stop());

    it('goes on with the parts that are missing', async () => {
      // Whether the last part was begun before the second failed is chance.
      expect(asked).toContain(first);
      const missing = asked.has(last) ? [second] : [second, last];
      await load();
      expect(asked).toEqual(new Set(missing));
    });

    it('begins anew if the model is another one by then', async () => {
      hub.commit = 'decaf'.padEnd(40, '0');
      await load();
      expect(asked).toEqual(new Set([first, second, last]));
    });
  });
});
