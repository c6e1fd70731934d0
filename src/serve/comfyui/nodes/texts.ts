/** Nodes that make conditions of texts. */
import { type Input, type NodeClass, NodeRefusal } from '../graph/node.ts';

const text: Input = { type: 'STRING', multiline: true };
const guidance: Input = { type: 'FLOAT', default: 3.5, min: 0, max: 100, step: 0.1 };
const conditioning: NodeClass['outputs'] = [['CONDITIONING', 'CONDITIONING']];

export const texts: Readonly<Record<string, NodeClass>> = {
  CLIPTextEncode: {
    title: 'CLIP Text Encode (Prompt)',
    category: 'conditioning',
    inputs: { text, clip: { type: 'CLIP' } },
    outputs: conditioning,
    read: (inputs) => [{ type: 'CONDITIONING', model: inputs.link('clip', 'CLIP').model, text: inputs.text('text') }],
  },
  CLIPTextEncodeFlux: {
    title: 'CLIPTextEncodeFlux',
    category: 'advanced/conditioning/flux',
    inputs: { clip: { type: 'CLIP' }, clip_l: text, t5xxl: text, guidance },
    outputs: conditioning,
    read: (inputs) => [
      {
        type: 'CONDITIONING',
        model: inputs.link('clip', 'CLIP').model,
        text: inputs.text('clip_l'),
        text2: inputs.text('t5xxl'),
        guidance: inputs.number('guidance'),
      },
    ],
  },
  FluxGuidance: {
    title: 'FluxGuidance',
    category: 'advanced/conditioning/flux',
    inputs: { conditioning: { type: 'CONDITIONING' }, guidance },
    outputs: conditioning,
    read: (inputs) => [{ ...inputs.link('conditioning', 'CONDITIONING'), guidance: inputs.number('guidance') }],
  },
  ConditioningZeroOut: {
    title: 'ConditioningZeroOut',
    category: 'advanced/conditioning',
    description: 'For negative prompts that are not used: with a cfg of 1.',
    inputs: { conditioning: { type: 'CONDITIONING' } },
    outputs: conditioning,
    read: (inputs) => [{ ...inputs.link('conditioning', 'CONDITIONING'), isZero: true }],
  },
};

/** What a prompt becomes as options. @throws NodeRefusal */
export function promptOptions(
  { text, text2, isZero }: { text: string; text2?: string; isZero?: boolean },
  { input, isNegative }: { input: string; isNegative: boolean },
): object {
  if (isZero)
    throw new NodeRefusal(
      input,
      'zeros stand for no text here; encode an empty text, or set cfg to 1 for a negative one',
    );
  if (isNegative) return { negativePrompt: text, ...(text2 === undefined ? {} : { negativePrompt2: text2 }) };
  return { prompt: text, ...(text2 === undefined ? {} : { prompt2: text2 }) };
}
