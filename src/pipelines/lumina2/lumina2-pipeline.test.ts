import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('Lumina2Pipeline', () => {
  itReproducesDiffusers('lumina2');
});
