/** From a calibrator's config to its forecaster. */
import type { CalibratorConfig } from '../config/calibrator-config.ts';
import { compensated } from './compensated.ts';
import { dmd } from './dmd.ts';
import { foca } from './foca.ts';
import { type Forecaster, reuse } from './forecaster.ts';
import { learned } from './learned.ts';
import { probe } from './probe.ts';
import { taylorSeer } from './taylorseer.ts';

/** The forecaster a config asks for; null is plain re-use. `compat` keeps cache-dit's lag of one step in Taylor. */
export function createForecaster(config: CalibratorConfig | null, compat: 'cache-dit' | null = null): Forecaster {
  switch (config?.type) {
    case undefined:
      return reuse;
    case 'taylorseer':
      return taylorSeer({ order: config.order, compat });
    case 'foca':
      return foca(config);
    case 'dmd':
      return dmd({ ...config, compat });
    case 'probe':
      return probe({ ...config, compat });
    case 'compensated':
      return compensated(config);
    case 'learned':
      return learned(config.coefficients);
  }
}
