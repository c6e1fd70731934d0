import { describe } from 'vitest';
import { itCaches } from '../testing/cached.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';

// Rounding to bfloat16 within attention turns last digits into third ones now and then.
const tolerance = 1e-3;

describe('Kandinsky5T2VPipeline', () => {
  const pipe = itReproducesDiffusers('kandinsky5_t2v', tolerance);
  itCaches(pipe, 'kandinsky5_t2v', tolerance);
});
