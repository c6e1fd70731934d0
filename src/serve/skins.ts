/** The protocols of the server, each in a folder of its own. Where two have the same path, the first has it. */
import { a1111Skin } from './a1111/a1111.ts';
import { cacheDitSkin } from './cache-dit/cache-dit.ts';
import { comfyuiSkin } from './comfyui/comfyui.ts';
import type { Skin } from './core.ts';
import { nativeSkin } from './native/native.ts';
import { openaiSkin } from './openai/openai.ts';
import { sglangSkin } from './sglang/sglang.ts';
import { studioSkin } from './studio/studio.ts';
import { systemSkin } from './system/system.ts';
import { videosSkin } from './videos/videos.ts';

export const skins: readonly Skin[] = [
  systemSkin,
  openaiSkin,
  videosSkin,
  sglangSkin,
  cacheDitSkin,
  nativeSkin,
  a1111Skin,
  comfyuiSkin,
  studioSkin,
];
