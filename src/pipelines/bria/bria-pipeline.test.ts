import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('BriaPipeline', () => {
  itReproducesDiffusers('bria');
});

describe('BriaPipeline with levels that no size shifts', () => {
  itReproducesDiffusers('bria_unshifted');
});
