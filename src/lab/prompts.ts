/**
 * What the bundled model is measured on. Two lists without a common subject: coefficients fitted on the one are judged on the
 * other. A prompt's seed is its place in the list.
 */
import { DejaDitError } from '../errors/errors.ts';

/** For measuring: 24 prompts over the model's five styles. */
export const sweepPrompts: readonly string[] = [
  'red apple, flat style',
  '3D unicorn',
  'blob style emoji of pizza',
  'classic style emoji of a dog face',
  'ink style sailboat',
  'green frog, clay style',
  'flat style rainbow',
  'blue butterfly, 3d style',
  'classic birthday cake',
  'blob style cat face',
  'ink style oak tree',
  'yellow banana, 3d style',
  'flat style rocket',
  'hot air balloon, classic style',
  'purple grapes, blob style',
  '3d style soccer ball',
  'classic style pumpkin',
  'flat style house with garden',
  'ink style fish',
  'orange fox, flat style',
  '3D mushroom',
  'blob style smiling face',
  'classic style guitar',
  'flat style snowman',
];

/** For fitting: 16 others. */
export const calibrationPrompts: readonly string[] = [
  'green pear, flat style',
  '3D dragon face',
  'blob style hamburger',
  'classic style rabbit face',
  'ink style airplane',
  'brown bear, clay style',
  'flat style sun behind cloud',
  'red rose, 3d style',
  'classic wrapped gift',
  'blob style panda',
  'ink style cactus',
  'orange tangerine, 3d style',
  'flat style bicycle',
  'castle, classic style',
  'pink flamingo, blob style',
  '3d style baseball',
];

/** @throws DejaDitError INVALID_ARGUMENT where there are not so many */
export function firstOf(prompts: readonly string[], count: number): readonly string[] {
  if (count >= 1 && count <= prompts.length) return prompts.slice(0, count);
  throw new DejaDitError('INVALID_ARGUMENT', `must be from 1 to ${prompts.length}, got ${count}`, {
    path: 'prompts',
  });
}
