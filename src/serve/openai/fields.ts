/**
 * What an OpenAI request for images may say, and what the servers say that took its shape over: SGLang Diffusion and vLLM-Omni. Other
 * fields are the model's own options.
 */
import { z } from '@hono/zod-openapi';

const whole = (min: number, max: number) => z.int().min(min).max(max);

export const imageFields = z
  .looseObject({
    prompt: z.string().describe('what to draw'),
    model: z.string().nullish().describe("name of a model; OpenAI's names stand for the default one"),
    n: whole(1, 10).nullish().describe('pictures; default 1'),
    size: z
      .string()
      .regex(/^(\d{1,5}x\d{1,5}|auto)$/, 'expected WIDTHxHEIGHT or auto')
      .nullish()
      .describe('as 512x512; auto: the size that the model was made for'),
    response_format: z
      .enum(['b64_json', 'url', 'file'], "expected 'b64_json', 'url' or 'file'")
      .nullish()
      .describe('b64_json (default), url, or file: the bytes of the picture as the answer'),
    output_format: z.enum(['png', 'jpeg', 'webp'], "expected 'png', 'jpeg' or 'webp'").nullish(),
    output_compression: whole(0, 100).nullish().describe('quality of jpeg and webp'),
    background: z.enum(['auto', 'opaque', 'transparent']).nullish(),
    stream: z.boolean().nullish().describe('server-sent events instead of one answer'),
    partial_images: whole(0, 3).nullish().describe('with stream: pictures of what it will become'),
    quality: z.string().nullish(),
    style: z.string().nullish(),
    moderation: z.string().nullish(),
    user: z.string().nullish(),
    seed: z
      .union([z.int(), z.array(z.int())])
      .nullish()
      .describe('default: random'),
    num_inference_steps: z.int().nullish(),
    guidance_scale: z.number().nullish(),
    true_cfg_scale: z.number().nullish(),
    negative_prompt: z.string().nullish(),
    cache: z
      .union([z.boolean(), z.looseObject({})])
      .nullish()
      .describe("this request's cache: true, false, or settings under cache-dit's names"),
    loras: z.looseObject({}).nullish().describe('strengths of LoRAs by name'),
    lora: z.looseObject({}).nullish().describe("vLLM-Omni's: {name, scale}"),
    output_path: z.string().nullish().describe("SGLang's: a folder in --output-dir into which the files go too"),
    enable_cache_dit: z.boolean().nullish().describe("SGLang's switch of the cache"),
    cache_dit_params: z.looseObject({}).nullish().describe("SGLang's settings of the cache"),
  })
  .describe('beside these, the options of the model (GET /v1/models)');

export type ImageFields = z.infer<typeof imageFields>;

/** What has nothing to do with the picture. */
export const withoutEffect: ReadonlySet<string> = new Set(['user', 'moderation', 'safety_identifier', 'metadata']);

/** Values that ask for what happens anyway. */
const neutral: ReadonlySet<unknown> = new Set([null, undefined, 'auto', 'standard', 'opaque', false, '', 'lossless']);

/** Fields of these protocols that nothing here answers to, and why. */
const idle: Readonly<Record<string, string>> = {
  quality: 'num_inference_steps sets how much is computed',
  style: 'the prompt sets the style',
  background: 'the models draw no transparency',
  input_fidelity: 'strength sets how far a picture may change',
  generator_device: 'noise is that of a CPU generator everywhere',
  output_quality: 'output_compression sets it',
  complexity: 'num_inference_steps sets how much is computed',
};

/** Why a field of a request has no effect; undefined for the model's own options. @param isOption whether a name is one of those */
export function whyIdle(name: string, value: unknown, isOption: (name: string) => boolean): string | undefined {
  if (neutral.has(value) && (name in idle || !isOption(name))) return undefined;
  if (name in idle) return `${name} has no effect: ${idle[name]}`;
  return isOption(name) ? undefined : `${name} has no effect: this server does not know it`;
}
