/**
 * What goes along the links of a graph. Nothing is computed while a graph is read: a latent is how it will come to be, so that a whole
 * graph ends in one request of a pipeline.
 */

/** What a KSampler asks for: the options of a request, before they are checked. */
export interface Drawing {
  /** The KSampler, which steps are told of. */
  node: string;
  model: string;
  options: Readonly<Record<string, unknown>>;
}

export interface Picture {
  /** `image/png`, … */
  type: string;
  bytes: Uint8Array<ArrayBuffer>;
  width: number;
  height: number;
}

export type Value =
  /** `cache`: the settings of a request of so many steps. */
  | { type: 'MODEL'; model: string; cache?: (steps: number) => object | false }
  | { type: 'CLIP'; model: string }
  | { type: 'VAE'; model: string }
  | { type: 'CONDITIONING'; model: string; text: string; guidance?: number }
  | { type: 'LATENT'; from: 'noise'; width: number; height: number; count: number }
  | { type: 'LATENT'; from: 'picture'; picture: Picture }
  | { type: 'LATENT'; from: 'drawing'; drawing: Drawing }
  | { type: 'IMAGE'; from: 'file'; picture: Picture }
  | { type: 'IMAGE'; from: 'drawing'; drawing: Drawing }
  | { type: 'MASK' };

export type LinkType = Value['type'];
export type ValueOf<T extends LinkType> = Extract<Value, { type: T }>;
