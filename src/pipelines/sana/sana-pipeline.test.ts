import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('SanaPipeline', () => {
  itReproducesDiffusers('sana');
});

describe('SanaSprintPipeline', () => {
  itReproducesDiffusers('sana_sprint');
});
