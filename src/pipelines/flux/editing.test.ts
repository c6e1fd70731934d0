/** FLUX.1's pipelines that edit pictures, as recorded. */
import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('FluxKontextPipeline', () => {
  itReproducesDiffusers('flux_kontext');
});

describe('FluxFillPipeline', () => {
  itReproducesDiffusers('flux_fill');
});

describe('FluxInpaintPipeline', () => {
  itReproducesDiffusers('flux_inpaint');
});
