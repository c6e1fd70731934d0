/** What a node class is: its inputs and outputs as ComfyUI describes them, and what it makes of its inputs. */
import type { Core } from '../../core.ts';
import type { Uploads } from '../uploads.ts';
import type { LinkType, Value, ValueOf } from './values.ts';

/** What nodes look things up in. */
export interface Surroundings {
  core: Core;
  uploads: Uploads;
}

export type Input = (
  | { type: 'INT' | 'FLOAT'; default: number; min: number; max: number; step?: number }
  | { type: 'STRING'; default?: string; multiline?: boolean }
  | { type: 'BOOLEAN'; default: boolean }
  /** `open`: other values are taken too, as they mean nothing here; `find`: those that are another way of writing one are. */
  | {
      type: 'COMBO';
      choices(around: Surroundings): readonly string[];
      open?: boolean;
      find?(value: string, around: Surroundings): string | undefined;
    }
  /** A file among those that clients sent. */
  | { type: 'UPLOAD' }
  | { type: LinkType }
) & { tooltip?: string; optional?: boolean };

/** What a node does with the files that were drawn. */
export interface OutputUse {
  /** The beginning of their names, with folders. */
  prefix: string;
  type: 'output' | 'temp';
  /** Of a video. */
  video?: { format: 'webp' | 'mp4'; fps: number };
}

export interface NodeClass {
  title: string;
  category: string;
  inputs: Readonly<Record<string, Input>>;
  outputs: readonly (readonly [type: LinkType, name: string])[];
  description?: string;
  /** @throws NodeRefusal */
  read(inputs: Inputs, around: Surroundings): readonly Value[];
  /** Of nodes for whose sake graphs are run. They read the one value that they show. */
  output?(inputs: Inputs): OutputUse;
}

/** Why a node cannot be what it is in this graph. */
export class NodeRefusal extends Error {
  constructor(
    readonly input: string,
    message: string,
  ) {
    super(message);
  }
}

/** The inputs of one node, after they were checked against its class. */
export class Inputs {
  constructor(
    readonly id: string,
    private readonly plain: ReadonlyMap<string, string | number | boolean>,
    private readonly links: ReadonlyMap<string, Value>,
    /** Takes what is no error, but not what was asked for either. */
    readonly note: (message: string) => void = () => undefined,
  ) {}

  number(name: string): number {
    return Number(this.plain.get(name));
  }

  text(name: string): string {
    return String(this.plain.get(name) ?? '');
  }

  flag(name: string): boolean {
    return this.plain.get(name) === true;
  }

  link<T extends LinkType>(name: string, type: T): ValueOf<T> {
    const value = this.links.get(name);
    if (value?.type !== type) throw new NodeRefusal(name, `must be linked to a ${type}`);
    return value as ValueOf<T>;
  }
}
