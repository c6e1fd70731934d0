import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import { fixtures, relativeError } from '../testing/golden.ts';
import { loadEncoder } from './testing/parity.ts';

describe('CLIPVisionModelWithProjection', () => {
  it('every hidden state equals Transformers', async () => {
    const folder = path.join(fixtures, 'text-encoders/clip_vision');
    const recorded = await readSafetensors(path.join(folder, 'io.safetensors'));
    await using model = await loadEncoder(folder);
    const { pixel_values } = recorded;
    const outputs = await model.forward({ pixel_values, output_hidden_states: true });
    const names = Object.keys(recorded).filter((name) => /hidden_state/.test(name));
    expect(names.length).toBeGreaterThan(3);
    for (const name of names) expect(relativeError(outputs[name]!, recorded[name]!), name).toBeLessThan(1e-5);
  });
});
