/**
 * What goes along the links of a graph. Nothing is computed while a graph is read: a latent is how it will come to be, so that a whole
 * graph ends in one request of a pipeline.
 */

/** A model as nodes have changed it. */
export interface ModelUse {
  model: string;
  /** The settings of a request of so many steps. */
  cache?: (steps: number) => object | false;
  /** Strengths of LoRAs by name. */
  loras?: Readonly<Record<string, number>>;
  /** Of the noise levels of a flow: t becomes shift·t / (1 + (shift − 1)·t). */
  shift?: number;
  /** Nodes that want to know what the cache did. */
  summaries?: readonly string[];
}

/** What a sampler asks for: the options of a request, before they are checked. */
export interface Drawing {
  /** The sampler, which steps are told of. */
  node: string;
  model: string;
  /** A picture in them is read when the request is made. */
  options: Readonly<Record<string, unknown>>;
  summaries: readonly string[];
}

/** What a picture or a mask will be, at a size that is known. */
export interface LazyPicture {
  width: number;
  height: number;
  /** A file of it. */
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
}

/** A text, or two where encoders read different ones. */
export interface Conditioning {
  model: string;
  text: string;
  text2?: string;
  /** Scale of distilled guidance. */
  guidance?: number;
  /** Whether zeros take the place of what the text is read as. */
  isZero?: boolean;
  control?: Control;
}

/** What a ControlNet sees, and how strongly and between which shares of the steps it acts. */
export interface Control {
  model: string;
  picture: LazyPicture;
  strength: number;
  from: number;
  to: number;
}

/** Steps of a sampler that stopped before the last: as much as another one needs to go on. */
export interface OpenSteps {
  /** What the two must have in common, by the sampler's inputs. */
  asked: Readonly<Record<string, unknown>>;
  /** Where it began and stopped, and of how many steps. */
  from: number;
  to: number;
  steps: number;
  latent: StartLatent;
  seed: number;
}

export type StartLatent =
  | { type: 'LATENT'; from: 'noise'; width: number; height: number; count: number; frames?: number }
  | { type: 'LATENT'; from: 'picture'; picture: LazyPicture; mask?: LazyPicture };

export type Value =
  | ({ type: 'MODEL' } & ModelUse)
  | { type: 'CLIP'; model: string; loras?: Readonly<Record<string, number>> }
  | { type: 'VAE'; model: string }
  | ({ type: 'CONDITIONING' } & Conditioning)
  | { type: 'CONTROL_NET'; model: string }
  | StartLatent
  | { type: 'LATENT'; from: 'steps'; open: OpenSteps }
  | { type: 'LATENT'; from: 'drawing'; drawing: Drawing }
  | { type: 'IMAGE'; from: 'file'; picture: LazyPicture }
  | { type: 'IMAGE'; from: 'drawing'; drawing: Drawing }
  | { type: 'VIDEO'; drawing: Drawing; fps: number }
  | { type: 'MASK'; picture: LazyPicture }
  | { type: 'NOISE'; seed: number }
  | { type: 'GUIDER'; use: ModelUse; positive: Conditioning; negative?: Conditioning; cfg: number }
  | { type: 'SAMPLER'; name: string }
  /** Those of a schedule between two of its steps. */
  | { type: 'SIGMAS'; use: ModelUse; schedule: string; steps: number; from: number; to: number };

export type LinkType = Value['type'];
export type ValueOf<T extends LinkType> = Extract<Value, { type: T }>;
