import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('CogView4Pipeline', () => {
  itReproducesDiffusers('cogview4');
});
