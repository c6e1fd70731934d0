/** What a file's weights say of the model they are for, where nobody describes it. */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import type { Shape } from '../../tensor/tensor.ts';
import type { ModelConfig } from '../../weights/model-folder.ts';
import { recogniseFile, requireRunnable } from '../../weights/single-file/known-files.ts';
import { tensorShapes } from '../../weights/single-file/open-single-file.ts';
import { inferFluxConfig } from '../transformers/flux/flux-names.ts';

/** The shapes of a model's tensors, under original names. */
export type Shapes = ReadonlyMap<string, Shape>;

/** By class: a config, as far as shapes say; undefined where they do not say enough. */
const inferences: Readonly<Record<string, (shapes: Shapes) => Record<string, unknown> | undefined>> = {
  FluxTransformer2DModel: inferFluxConfig,
};

/** @throws DejaDitError UNSUPPORTED naming what the file is, INVALID_ARGUMENT where a config is needed */
export async function inferConfig(file: string, component: string): Promise<ModelConfig> {
  const shapes = await tensorShapes(file, component);
  requireRunnable(shapes.keys(), file);
  const found = recogniseFile(shapes.keys());
  const config = found?.className === undefined ? undefined : inferences[found.className]?.(shapes);
  if (config) return { className: found!.className, config, path: file };
  const what = found
    ? `is ${found.title}, whose weights do not say all`
    : `is no model that is recognised by its tensors (${quote([...shapes.keys()].slice(0, 2))})`;
  throw new DejaDitError(
    'INVALID_ARGUMENT',
    `${what}: name a folder or repository in Diffusers layout that describes it in 'config'`,
    { path: file },
  );
}
