/**
 * The names that Diffusers and Transformers give to weight files, as pure functions over lists of file names: the same
 * choice is made for a folder on disk and for a repository's listing before anything is downloaded.
 */

/** What weight files are called before their extensions: Diffusers' models, and Transformers' text encoders. */
export const weightBaseNames = ['diffusion_pytorch_model', 'model'] as const;
export type WeightBaseName = (typeof weightBaseNames)[number];

/** The files of one set of weights: a single file, or an index with its shards. */
export interface WeightFiles {
  single?: string;
  index?: string;
  /** Names that look like shards of `index`; the index itself has the last word. */
  shards: string[];
}

/**
 * The safetensors files among `fileNames` for one variant; nothing if there are none. A single file goes before an
 * index: where a repository has both, they hold the same tensors.
 * @param fileNames names in one folder, without paths
 * @param variant `fp16` for `model.fp16.safetensors` and its like; by default the files without a variant in the name
 */
export function chooseWeightFiles(
  fileNames: readonly string[],
  { baseName, variant }: { baseName: WeightBaseName; variant?: string | undefined },
): WeightFiles | undefined {
  const present = new Set(fileNames);
  const stem = variant === undefined ? baseName : `${baseName}.${variant}`;
  const single = `${stem}.safetensors`;
  if (present.has(single)) return { single, shards: [] };
  const index = indexNames(baseName, variant).find((name) => present.has(name));
  if (index === undefined) return undefined;
  const shardStems =
    variant === undefined
      ? [[baseName, '']]
      : [
          [stem, ''],
          [baseName, `.${variant}`],
        ];
  const shards = fileNames.filter((name) =>
    shardStems.some(([start, end]) => {
      if (!name.startsWith(`${start}-`) || !name.endsWith(`${end}.safetensors`)) return false;
      return /^\d{5}-of-\d{5}$/.test(name.slice(start!.length + 1, -`${end}.safetensors`.length));
    }),
  );
  return { index, shards };
}

/** Today's spelling first, then the older ones still found in repositories. */
function indexNames(baseName: string, variant: string | undefined): string[] {
  if (variant === undefined) return [`${baseName}.safetensors.index.json`];
  return [
    `${baseName}.safetensors.index.${variant}.json`,
    `${baseName}.safetensors.${variant}.index.json`,
    `${baseName}.${variant}.safetensors.index.json`,
  ];
}

/** The variants of which `fileNames` has safetensors files; `undefined` stands for the files without one. */
export function variantsAmong(fileNames: readonly string[], baseName: WeightBaseName): (string | undefined)[] {
  const candidates = new Set<string | undefined>([undefined]);
  for (const name of fileNames) {
    if (!name.startsWith(`${baseName}.`)) continue;
    const words = name
      .slice(baseName.length + 1)
      .replace(/-\d{5}-of-\d{5}/, '')
      .split('.');
    for (const word of words) candidates.add(word);
  }
  return [...candidates].filter((variant) => chooseWeightFiles(fileNames, { baseName, variant }) !== undefined);
}

/** Weights in formats that are not read here: pickles (which can run code), Flax, TensorFlow, ONNX, GGUF. */
export function foreignWeightsAmong(fileNames: readonly string[]): string[] {
  return fileNames.filter((name) => /\.(bin|ckpt|pt|pth|msgpack|h5|onnx|onnx_data|gguf)$/.test(name));
}
