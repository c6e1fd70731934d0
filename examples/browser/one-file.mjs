// The page as one HTML file, which opens from a disk too: node examples/browser/one-file.mjs [deja-dit.html]
// Scripts, style and the WebAssembly of the processor's backend are in it; the model is chosen, dropped, or at the address ?model=.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const wasm = fileURLToPath(import.meta.resolve('onnxruntime-web/ort-wasm-simd-threaded.wasm'));
// Without a tsconfig.json that lies above.
const common = { bundle: true, format: 'esm', minify: true, write: false, logLevel: 'error', tsconfigRaw: '{}' };

const worker = await scriptOf({ entryPoints: ['deja-dit/web/worker'] });
const page = await scriptOf({
  stdin: {
    resolveDir: import.meta.dirname,
    contents: `
      import { setAssets } from 'deja-dit/web';
      import wasm from ${JSON.stringify(wasm)};
      setAssets({ wasm: wasm.buffer, worker: ${JSON.stringify(`data:text/javascript,${encodeURIComponent(worker)}`)} });
      // Another WebAssembly, of twice the size.
      document.querySelector('[value=webgpu]').remove();
      await import('./main.js');
    `,
  },
  loader: { '.wasm': 'binary' },
  define: { 'import.meta.env.PROD': 'false' },
});

const read = (file) => readFileSync(path.join(import.meta.dirname, file), 'utf8');
// Functions, as `$` means something in a replacement; and no script may hold the tag that ends it.
const html = read('index.html')
  .replace(/<link rel="stylesheet".*>/, () => `<style>${read('style.css')}</style>`)
  .replace(/<script .*<\/script>/, () => `<script type="module">${page.replaceAll('</script', '<\\/script')}</script>`);
writeFileSync(process.argv[2] ?? 'deja-dit.html', html);

async function scriptOf(options) {
  return (await build({ ...common, ...options })).outputFiles[0].text;
}
