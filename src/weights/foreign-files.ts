/** What is not a model folder, recognised and named for what it is: single files, GGUF, LoRAs. */

const saveAsFolder = 'deja-dit reads folders in Diffusers layout (model_index.json, or config.json beside safetensors)';
const asComponent =
  'load it with fromSingleFile(file, { config }), or as a component: { transformer: file }, --transformer';

/** What a path leads to that is a file, and what to do about it. */
export function describeFile(path: string): string {
  if (/\.gguf$/i.test(path)) return `is a GGUF file, not a folder; ${asComponent}`;
  if (/\.safetensors$/i.test(path)) return `is a single file, not a folder; ${asComponent}`;
  if (/\.(bin|ckpt|pt|pth)$/i.test(path))
    return `is a pickle, which can run code and is not read; ${saveAsFolder}: save it again with safe_serialization=True`;
  return `is a file; ${saveAsFolder}`;
}

/** Why the files of a folder or repository are no model in Diffusers layout; undefined where they may be one. */
export function describeForeign(paths: readonly string[]): string | undefined {
  const names = new Set(paths);
  if (['model_index.json', 'modular_model_index.json', 'config.json'].some((name) => names.has(name))) return undefined;
  if (names.has('adapter_config.json') || names.has('pytorch_lora_weights.safetensors'))
    return 'is a LoRA, not a model: load the model it is for, then the LoRA with loadLora or --lora-path';
  const atRoot = paths.filter((path) => !path.includes('/'));
  const gguf = atRoot.find((name) => name.endsWith('.gguf'));
  if (gguf !== undefined) return `holds GGUF files ('${gguf}') and no config; name the file, and ${asComponent}`;
  const single = atRoot.find((name) => name.endsWith('.safetensors'));
  if (single !== undefined)
    return `holds a single-file checkpoint ('${single}') and no config; name the file, and ${asComponent}`;
  return undefined;
}
