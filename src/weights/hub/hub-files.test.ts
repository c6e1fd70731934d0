import { expect, it } from 'vitest';
import { matchPatterns, selectRepositoryFiles } from './hub-files.ts';

/** Of the kind one finds: every format and every precision at once. */
const listing = [
  '.gitattributes',
  'README.md',
  'model_index.json',
  'flux1-dev.safetensors',
  'scheduler/scheduler_config.json',
  'text_encoder/config.json',
  'text_encoder/flax_model.msgpack',
  'text_encoder/model.fp16.safetensors',
  'text_encoder/model.onnx',
  'text_encoder/model.safetensors',
  'text_encoder/pytorch_model.bin',
  'text_encoder_2/config.json',
  'text_encoder_2/model-00001-of-00002.safetensors',
  'text_encoder_2/model-00002-of-00002.safetensors',
  'text_encoder_2/model.safetensors.index.json',
  'text_encoder_2/pytorch_model.bin.index.json',
  'tokenizer/merges.txt',
  'tokenizer/vocab.json',
  'tokenizer_2/spiece.model',
  'tokenizer_2/chat_template.jinja',
  'transformer/config.json',
  'transformer/diffusion_pytorch_model.bin',
  'transformer/diffusion_pytorch_model.fp16-00001-of-00002.safetensors',
  'transformer/diffusion_pytorch_model.fp16-00002-of-00002.safetensors',
  'transformer/diffusion_pytorch_model.safetensors',
  'transformer/diffusion_pytorch_model.safetensors.index.fp16.json',
  'transformer/onnx/model.onnx',
  'unused/config.json',
  'vae/config.json',
  'vae/diffusion_pytorch_model.bin',
];
const components = ['scheduler', 'text_encoder', 'text_encoder_2', 'tokenizer', 'tokenizer_2', 'transformer', 'vae'];
const settings = [
  'model_index.json',
  'scheduler/scheduler_config.json',
  'text_encoder/config.json',
  'text_encoder_2/config.json',
  'tokenizer/merges.txt',
  'tokenizer/vocab.json',
  'tokenizer_2/chat_template.jinja',
  'tokenizer_2/spiece.model',
  'transformer/config.json',
  'vae/config.json',
];
const shards = ['-00001-of-00002.safetensors', '-00002-of-00002.safetensors'];
const encoder2 = [...shards.map((end) => `text_encoder_2/model${end}`), 'text_encoder_2/model.safetensors.index.json'];

function select(options: { variant?: string; components?: string[] }, paths = listing) {
  const warnings: string[] = [];
  const onWarning = (message: string) => void warnings.push(message);
  const selected = selectRepositoryFiles(paths, { repository: 'org/name', components, onWarning, ...options });
  return { selected: selected.sort(), warnings };
}

it('takes settings and one set of weights per component', () => {
  const { selected, warnings } = select({});
  const weights = ['text_encoder/model.safetensors', 'transformer/diffusion_pytorch_model.safetensors'];
  expect(selected).toEqual([...settings, ...encoder2, ...weights].sort());
  expect(warnings).toEqual(['org/name/vae: has weights only as diffusion_pytorch_model.bin, which are not downloaded']);
});

it('takes a variant where it is, shards with their index, and plain weights with a warning elsewhere', () => {
  const { selected, warnings } = select({ variant: 'fp16' });
  const weights = [
    'text_encoder/model.fp16.safetensors',
    ...shards.map((end) => `transformer/diffusion_pytorch_model.fp16${end}`),
    'transformer/diffusion_pytorch_model.safetensors.index.fp16.json',
  ];
  expect(selected).toEqual([...settings, ...encoder2, ...weights].sort());
  expect(warnings[0]).toBe("org/name/text_encoder_2: has no weights of variant 'fp16', taking the plain ones");
  expect(() => select({ variant: 'int3' })).toThrow('org/name: no weights of variant "int3"');
});

it('takes the root of a repository that is a single model', () => {
  const paths = ['config.json', 'diffusion_pytorch_model.safetensors', 'sub/config.json', 'x.safetensors'];
  const { selected } = select({ components: undefined }, paths);
  expect(selected).toEqual(['config.json', 'diffusion_pytorch_model.safetensors']);
});

it('matches patterns as shells do, with stars across folders', () => {
  expect(matchPatterns(listing, ['vae/*', 'README.??'])).toEqual([
    'README.md',
    'vae/config.json',
    'vae/diffusion_pytorch_model.bin',
  ]);
  expect(matchPatterns(['a.json', 'axjson', 'b/c.json'], ['*.json'])).toEqual(['a.json', 'b/c.json']);
});
