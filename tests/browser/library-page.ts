/** The library on a page of plain files, as they would lie on a web space: the script, its worker, ONNX Runtime's files, and a model. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import type { Browser, Page } from 'playwright-core';
import type * as Library from '../../src/web.ts';
import { newPage } from './chromium.ts';
import { type ServeOptions, type StaticServer, serveFolders } from './static-server.ts';

export const root = path.resolve(import.meta.dirname, '../..');
export const bundledModel = path.join(root, 'models/emoji-flux');
export const ortFolder = path.join(root, 'node_modules/onnxruntime-web/dist/');

declare global {
  /** In such a page: what `deja-dit/web` exports. */
  var dejaDit: typeof Library;
}

const html = `<!doctype html><title>deja-dit</title><script type="module">
  import * as dejaDit from './library.js';
  dejaDit.setAssets({ wasm: './ort/' });
  globalThis.dejaDit = dejaDit;
</script>`;

export class LibraryPage implements Disposable {
  private constructor(readonly folder: string) {}

  /** @param entries further scripts, by the name they are served under without `.js` */
  static async build(entries: Readonly<Record<string, string>> = {}): Promise<LibraryPage> {
    const folder = mkdtempSync(path.join(tmpdir(), 'deja-dit-page-'));
    await build({
      entryPoints: { library: 'deja-dit/web', 'worker-main.web': 'deja-dit/web/worker', ...entries },
      absWorkingDir: root,
      outdir: folder,
      bundle: true,
      splitting: true,
      format: 'esm',
      minify: true,
      logLevel: 'error',
      // Who uses the package has no tsconfig of ours.
      tsconfigRaw: '{}',
    });
    writeFileSync(path.join(folder, 'index.html'), html);
    return new LibraryPage(folder);
  }

  serve(options?: ServeOptions): Promise<StaticServer> {
    return serveFolders({ '/model/': bundledModel, '/ort/': ortFolder, '/': this.folder }, options);
  }

  /** In a context of its own, with nothing stored. */
  async open({ origin }: StaticServer, browser: Browser): Promise<Page> {
    const page = await newPage(browser);
    await page.goto(`${origin}/index.html`);
    await page.waitForFunction(() => 'dejaDit' in globalThis);
    return page;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true });
  }
}

type Request = Pick<Library.GenerateOptions, 'prompt' | 'seed' | 'numInferenceSteps' | 'width' | 'height'>;
type Options = Pick<
  Library.FromPretrainedOptions,
  'backend' | 'worker' | 'threads' | 'hubUrl' | 'revision' | 'store' | 'update' | 'retries'
>;

/** Draws; the picture's bytes. @param source default: the model beside the page */
export function draw(
  page: Page,
  request: Request,
  { source = './model', ...options }: Options & { source?: string } = {},
): Promise<number[]> {
  return page.evaluate(
    async ({ source, request, options }) => {
      const pipe = await dejaDit.DiffusionPipeline.fromPretrained(source, options);
      try {
        const { images } = await pipe.generate(request);
        return [...images![0]!.data];
      } finally {
        await pipe.dispose();
      }
    },
    { source, request, options },
  );
}
