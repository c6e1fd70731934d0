/** The settings a sweep measures: schedules as they are named, and refusals of names it does not know. */
import { describe, expect, it } from 'vitest';
import { completeConfigs } from '../../cache/config/defaults.ts';
import { curveNames, scheduled, scheduleMask, settingsOf } from './methods.ts';

const show = (name: string, steps: number) => scheduleMask(name, steps).join('');

describe('scheduleMask', () => {
  it('computes four steps, then every n-th; or what the digits say; or a preset', () => {
    expect(show('every3', 12)).toBe('111100100100');
    expect(show('every4', 12)).toBe('111100010001');
    expect(show('110010', 6)).toBe('110010');
    expect(show('fast', 28)).toBe('1111110100010000100000100001');
  });

  it('refuses names that mean nothing', () => {
    expect(() => scheduleMask('every0', 28)).toThrow('must be one of');
    expect(() => scheduleMask('1100', 28)).toThrow('must be one of');
  });
});

describe('settings', () => {
  it('of every curve are valid, and no two alike', () => {
    const settings = settingsOf(curveNames, 28);
    for (const { cache } of settings) if (cache) expect(() => completeConfigs(cache)).not.toThrow();
    const names = settings.map(({ method, label }) => `${method} ${label}`);
    expect(new Set(names).size).toBe(names.length);
  });

  it('compare the forecasters of cache-dit as it runs them, and ours as we do', () => {
    const compatOf = (method: string) =>
      scheduled({ method, calibrator: null, schedule: 'every3', steps: 28 }).cache?.cacheConfig?.compat;
    expect(compatOf('taylorseer2')).toBe('cache-dit');
    expect(compatOf('compensated')).toBeUndefined();
  });

  it('of unknown names are refused with the nearest known one', () => {
    expect(() => settingsOf(['defualt'], 28)).toThrow('did you mean default?');
  });
});
