import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('QwenImage21Pipeline', () => {
  itReproducesDiffusers('qwenimage21');
});
