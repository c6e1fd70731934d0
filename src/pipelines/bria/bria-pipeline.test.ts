import { describe } from 'vitest';
import { itCaches } from '../testing/cached.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('BriaPipeline', () => {
  const pipe = itReproducesDiffusers('bria');
  itCaches(pipe, 'bria');
});

describe('BriaPipeline with levels that no size shifts', () => {
  itReproducesDiffusers('bria_unshifted');
});
