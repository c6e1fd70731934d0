import { describe } from 'vitest';
import { itCaches } from '../testing/cached.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('MochiPipeline', () => {
  const pipe = itReproducesDiffusers('mochi');
  itCaches(pipe, 'mochi');
});
