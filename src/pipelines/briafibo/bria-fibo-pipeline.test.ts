import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('BriaFiboPipeline', () => {
  itReproducesDiffusers('bria_fibo');
});
