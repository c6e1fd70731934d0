/** The transformer families; a new one is one line here. */
import type { TransformerFamily } from '../definition.ts';
import { chromaTransformer } from './chroma/chroma.ts';
import { cogView4Transformer } from './cogview4/cogview4.ts';
import { ditTransformer } from './dit/dit.ts';
import { fluxTransformer } from './flux/flux.ts';
import { flux2Transformer } from './flux2/flux2.ts';
import { hunyuanVideoTransformer } from './hunyuanvideo/hunyuanvideo.ts';
import { legacyTransformer2D } from './legacy-transformer-2d.ts';
import { ltxTransformer } from './ltx/ltx.ts';
import { lumina2Transformer } from './lumina2/lumina2.ts';
import { pixartTransformer } from './pixart/pixart.ts';
import { qwenImageTransformer } from './qwenimage/qwenimage.ts';
import { sanaTransformer } from './sana/sana.ts';
import { sd3Transformer } from './sd3/sd3.ts';
import { wanTransformer } from './wan/wan.ts';
import { zImageTransformer } from './zimage/zimage.ts';

export const transformerFamilies: readonly TransformerFamily[] = [
  chromaTransformer,
  cogView4Transformer,
  ditTransformer,
  fluxTransformer,
  flux2Transformer,
  hunyuanVideoTransformer,
  legacyTransformer2D,
  ltxTransformer,
  lumina2Transformer,
  pixartTransformer,
  qwenImageTransformer,
  sanaTransformer,
  sd3Transformer,
  wanTransformer,
  zImageTransformer,
];
