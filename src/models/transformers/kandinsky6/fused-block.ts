/** Kandinsky 6's block of video and sound, and those that refine their texts. */
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import type { KeyMask } from '../../../nn/attention/attention-mask.ts';
import { feedForward, linear } from '../../../nn/linear.ts';
import { modulatedResidual, projectModulations, type SublayerModulation } from '../../../nn/modulation.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { modulatedLayerNorm } from '../../../nn/norms.ts';
import type { Rotary } from '../../../nn/rotary.ts';
import type { State } from '../../definition.ts';
import { kandinskyAttention } from '../kandinsky5/kandinsky-layers.ts';

/** Sizes of video or of sound. */
export interface Stream {
  width: number;
  timeWidth: number;
  mlpWidth: number;
  axesDim: readonly number[];
  headDim: number;
  heads: number;
}

export interface FusedOptions {
  video: Stream;
  audio: Stream;
  options: {
    /** Whether what the streams see of each other is turned. */
    turnsAcross: boolean;
    /** Whether the gate of what a stream sees of the other is made from the other's time. */
    crossGates: boolean;
    /** Whether scale and shift of what looks across are made from the stream's own time; else from the other's. */
    ownTimes: boolean;
  };
}

/** Beside these: for each stream `…_temb`, `…_text`, `…_cos` and `…_sin`, and `text_keys` and `text_bias` where text is padded. */
export type Kandinsky6State = State & {
  /** Video. */
  hidden_states: SymbolicTensor;
};

const epsilon = 1e-5;

const textMask = ({ text_keys: keys, text_bias: bias }: State): KeyMask<SymbolicTensor> => ({ keys, bias });
const turns = (state: State, name: string): Rotary => ({ cos: state[`${name}_cos`]!, sin: state[`${name}_sin`]! });

interface TextRefinement {
  kind: 'video' | 'audio';
  temb: SymbolicTensor;
  inputs: State;
  stream: Stream;
  blocks: number;
}

/** A stream's text through its own blocks. */
export function refinedText(m: Module, text: SymbolicTensor, options: TextRefinement): SymbolicTensor {
  const { kind, temb, inputs, stream, blocks } = options;
  const rotary = turns(inputs, `${kind}_text`);
  return Array.from({ length: blocks }).reduce<SymbolicTensor>(
    (x, _, i) =>
      textBlock(m.at(`${kind}_text_transformer_blocks.${i}`), x, { temb, rotary, stream, mask: textMask(inputs) }),
    text,
  );
}

interface TextBlock {
  temb: SymbolicTensor;
  rotary: Rotary;
  stream: Stream;
  mask: KeyMask<SymbolicTensor>;
}

const textBlock = layer((m, x: SymbolicTensor, { temb, rotary, stream, mask }: TextBlock): SymbolicTensor => {
  const { heads, width, mlpWidth: inner } = stream;
  const [ofAttention, ofMlp] = projectModulations(m.at('text_modulation.out_layer'), temb, { sublayers: 2, width });
  const informed = modulatedResidual(x, {
    modulation: ofAttention,
    epsilon,
    sublayer: (normed) => kandinskyAttention(m.at('attn'), normed, { heads, rotary, mask }),
  });
  return modulatedResidual(informed, { modulation: ofMlp, epsilon, sublayer: (normed) => mlp(m, normed, inner) });
});

const mlp = (m: Module, x: SymbolicTensor, inner: number) =>
  feedForward(m.at('feed_forward'), x, { activation: 'gelu', inner, bias: false });

/** What a stream has done before it looks at the other one. */
interface Informed {
  x: SymbolicTensor;
  /** As it read its text. */
  asked: SymbolicTensor;
  ofMlp: SublayerModulation;
}

/** Video and sound: each sees itself, then its text, then the other; then its feed-forward. */
export const fusedBlock = layer((m, state: Kandinsky6State, config: FusedOptions): Partial<Kandinsky6State> => {
  const sound = state.encoder_hidden_states;
  const video = informed(m.at('video_dec_block'), state.hidden_states, { kind: 'video', state, stream: config.video });
  if (!sound) return { hidden_states: finished(m.at('video_dec_block'), video.x, video, config.video) };
  const audio = informed(m.at('audio_dec_block'), sound, { kind: 'audio', state, stream: config.audio });
  const seen = across(m, { video, audio, state, config });
  return {
    hidden_states: finished(m.at('video_dec_block'), seen.video, video, config.video),
    encoder_hidden_states: finished(m.at('audio_dec_block'), seen.audio, audio, config.audio),
  };
});

interface Informing {
  kind: 'video' | 'audio';
  state: State;
  stream: Stream;
}

function informed(m: Module, x: SymbolicTensor, { kind, state, stream: { heads, width } }: Informing): Informed {
  const [ofAttention, ofText, ofMlp] = projectModulations(m.at('visual_modulation.out_layer'), state[`${kind}_temb`]!, {
    sublayers: 3,
    width,
  });
  const attended = modulatedResidual(x, {
    modulation: ofAttention,
    epsilon,
    sublayer: (normed) => kandinskyAttention(m.at('self_attention'), normed, { heads, rotary: turns(state, kind) }),
  });
  const asked = modulatedLayerNorm(attended, ofText, epsilon);
  const answer = kandinskyAttention(m.at('cross_attention'), asked, {
    heads,
    context: state[`${kind}_text`]!,
    mask: textMask(state),
  });
  return { x: attended.add(ofText.gate.mul(answer)), asked, ofMlp };
}

const finished = (m: Module, x: SymbolicTensor, { ofMlp }: Informed, { mlpWidth }: Stream) =>
  modulatedResidual(x, { modulation: ofMlp, epsilon, sublayer: (normed) => mlp(m, normed, mlpWidth) });

interface Across {
  video: Informed;
  audio: Informed;
  state: State;
  config: FusedOptions;
}

/** Both streams after each has seen how the other read its text. */
function across(m: Module, { video, audio, state, config }: Across): { video: SymbolicTensor; audio: SymbolicTensor } {
  const { turnsAcross, crossGates, ownTimes } = config.options;
  const [ofVideo, ofAudio] = [config.video.width, config.audio.width];
  const vectors = (name: string, temb: SymbolicTensor, [own, other]: readonly [number, number]) => {
    const widths = [own, own, crossGates ? other : own];
    const total = widths.reduce((sum, width) => sum + width);
    return linear(m.at(name).at('out_layer'), temb.silu(), total)
      .split(-1, widths)
      .map((vector) => vector.unsqueeze(1)) as [SymbolicTensor, SymbolicTensor, SymbolicTensor];
  };
  const [videoTime, audioTime] = [state.video_temb!, state.audio_temb!];
  const va = vectors('va_modulation', ownTimes ? videoTime : audioTime, [ofVideo, ofAudio]);
  const av = vectors('av_modulation', ownTimes ? audioTime : videoTime, [ofAudio, ofVideo]);
  const rotary = turnsAcross ? { video: turns(state, 'video'), audio: turns(state, 'audio') } : undefined;
  const fromAudio = kandinskyAttention(
    m.at('va_cross_attention'),
    modulatedLayerNorm(video.x, { shift: va[0], scale: va[1] }, epsilon),
    { heads: config.video.heads, context: audio.asked, rotary: rotary?.video, contextRotary: rotary?.audio },
  );
  const fromVideo = kandinskyAttention(
    m.at('av_cross_attention'),
    modulatedLayerNorm(audio.x, { shift: av[0], scale: av[1] }, epsilon),
    { heads: config.audio.heads, context: video.asked, rotary: rotary?.audio, contextRotary: rotary?.video },
  );
  const [videoGate, audioGate] = crossGates ? [av[2], va[2]] : [va[2], av[2]];
  return { video: video.x.add(videoGate.mul(fromAudio)), audio: audio.x.add(audioGate.mul(fromVideo)) };
}
