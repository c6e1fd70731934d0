import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('AuraFlowPipeline', () => {
  itReproducesDiffusers('auraflow');
});
