/** The progress of quantising, layer by layer. */
import { ProgressBar } from './progress.ts';

export function layerProgress() {
  let bar: ProgressBar | undefined;
  return {
    update: ({ done, total, layer }: { done: number; total: number; layer: string }) => {
      bar ??= new ProgressBar('quantising', total);
      bar.update(done, layer);
    },
    clear: () => bar?.clear(),
  };
}
