import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('ChromaPipeline', () => {
  itReproducesDiffusers('chroma');
});
