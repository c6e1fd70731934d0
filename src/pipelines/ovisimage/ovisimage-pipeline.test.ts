import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('OvisImagePipeline', () => {
  itReproducesDiffusers('ovis_image');
});
