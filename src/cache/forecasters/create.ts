/** From a calibrator's config to its forecaster. */
import type { CalibratorConfig } from '../config/calibrator-config.ts';
import { compensated } from './compensated.ts';
import { dmd } from './dmd.ts';
import { foca } from './foca.ts';
import { type Forecaster, reuse } from './forecaster.ts';
import { learned } from './learned.ts';
import { probe } from './probe.ts';
import { taylorSeer } from './taylorseer.ts';

/** The forecaster a config asks for; null is plain re-use. `lag` is that of all Taylor forecasts, see `TaylorOptions`. */
export function createForecaster(config: CalibratorConfig | null, lag = 0): Forecaster {
  switch (config?.type) {
    case undefined:
      return reuse;
    case 'taylorseer':
      return taylorSeer({ order: config.order, lag });
    case 'foca':
      return foca(config);
    case 'dmd':
      return dmd({ ...config, lag });
    case 'probe':
      return probe({ ...config, lag });
    case 'compensated':
      return compensated(config);
    case 'learned':
      return learned(config.coefficients);
  }
}
