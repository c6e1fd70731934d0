import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('Krea2Pipeline', () => {
  itReproducesDiffusers('krea2');
});
