import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('Flux2Pipeline', () => {
  itReproducesDiffusers('flux2');
});

describe('Flux2KleinPipeline', () => {
  itReproducesDiffusers('flux2_klein');
});
