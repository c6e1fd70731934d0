/** Wan 2.2's two experts: one for the noisy part of the schedule, one for the rest. */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import type { ConfigReader } from '../../models/config-reader.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { type Part, transformer } from '../components.ts';

export interface Experts {
  /** Share of the training times at which the second expert takes over; undefined: there is one. */
  boundaryRatio: number | undefined;
}

/** @throws DejaDitError naming `boundary_ratio` */
export function readExperts(config: ConfigReader): Experts {
  const boundaryRatio = config.nullable('boundary_ratio', (name) => config.number(name));
  if (boundaryRatio === undefined || (boundaryRatio >= 0 && boundaryRatio <= 1)) return { boundaryRatio };
  throw new DejaDitError('INVALID_CONFIG', `boundary_ratio is ${quote(boundaryRatio)}, expected 0 to 1`, {
    path: config.origin,
  });
}

/** The second one, where there are two. */
export function secondExpert(): Part<TransformerModel | undefined> {
  return {
    load: async (loader, name) =>
      (loader.folder.options['boundary_ratio'] ?? undefined) === undefined
        ? undefined
        : transformer('WanTransformer3DModel').load(loader, name),
  };
}

interface ExpertParts {
  transformer: TransformerModel;
  transformer2: TransformerModel | undefined;
  scheduler: Scheduler;
}

export function twoExperts({ transformer, transformer2, scheduler }: ExpertParts, { boundaryRatio }: Experts) {
  const boundary =
    boundaryRatio === undefined
      ? Number.NEGATIVE_INFINITY
      : boundaryRatio * Number(scheduler.config['num_train_timesteps']);
  const isFirst = (timestep: number) => timestep >= boundary;
  return { isFirst, at: (timestep: number) => (isFirst(timestep) ? transformer : transformer2!) };
}
