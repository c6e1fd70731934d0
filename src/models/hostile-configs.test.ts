/** Configs that lie about numbers: refused in one line, before tables or layers are made of them. */
import { describe, expect, it } from 'vitest';
import { DejaDitError } from '../errors/errors.ts';
import { checkpointFolders, openCheckpoint } from './testing/checkpoints.ts';
import { accountWeights } from './weight-accounting.ts';

/** Wrong in whatever field of numbers; JSON's reader makes a word of NaN. */
const nonsense = ['NaN', Number.POSITIVE_INFINITY, -1e9];
/** Right in some field or other; they must end in an error of ours, or in none. */
const bombs = [0, 0.5, 2e6, 1e8, 1e300];
/** Fields of which any finite number is right. */
const anyNumber = /^(shift_factor|latents_mean)$/;

const opened = await Promise.all(checkpointFolders.map(openCheckpoint));
/** One checkpoint of each class: its fields are read by the same code. */
const classes = new Map(opened.map((checkpoint) => [checkpoint.className, checkpoint]));

describe.each([...classes])('%s', (_, { config, source, configure }) => {
  const fields = Object.entries(config).filter(([, value]) => typeof [value].flat()[0] === 'number');

  it.each(fields)('%s', (field, value) => {
    for (const wrong of [...nonsense, ...bombs]) {
      let asked = false;
      const json = { ...config };
      Object.defineProperty(json, field, {
        enumerable: true,
        get() {
          asked = true;
          return Array.isArray(value) ? [wrong, ...value.slice(1)] : wrong;
        },
      });
      const error = refusal(() => {
        accountWeights(configure(json), source, { origin: 'checkpoint', weightDtype: 'float32' });
      });
      if (error !== undefined) {
        expect(error, `${field} = ${wrong}`).toBeInstanceOf(DejaDitError);
        expect((error as Error).message).toMatch(/^(?=.{1,400}$)[^\n]*$/);
      }
      const mayPass = bombs.some((bomb) => bomb === wrong) || (wrong === -1e9 && anyNumber.test(field));
      if (asked && !mayPass) expect(error, `${field} = ${wrong}`).toBeDefined();
    }
  });
});

function refusal(load: () => void): unknown {
  try {
    load();
    return undefined;
  } catch (error) {
    return error;
  }
}
