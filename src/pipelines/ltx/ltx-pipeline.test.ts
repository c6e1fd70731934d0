import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('LTXPipeline', () => {
  itReproducesDiffusers('ltx');
});
