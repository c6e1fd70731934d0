/** What modular pipelines are guided by, from a `guider_config.json`: classifier-free guidance with its scale. */
import { DejaDitError } from '../../errors/errors.ts';
import { ConfigReader } from '../../models/config-reader.ts';
import { readConfig } from '../../weights/model-folder.ts';

export interface Guider {
  /** Of classifier-free guidance, where a request names none; 1 where it is off. */
  scale: number;
}

/** @throws DejaDitError UNSUPPORTED for guidance of another kind, or in part of the steps */
export async function readGuider(folder: string): Promise<Guider> {
  const { className, config, path } = await readConfig(folder, 'guider_config.json');
  if (className !== 'ClassifierFreeGuidance')
    throw new DejaDitError('UNSUPPORTED', `guider ${className} is not supported, only ClassifierFreeGuidance`, {
      path,
    });
  const reader = new ConfigReader(config, path);
  reader.requires('guidance_rescale', 0);
  reader.requires('use_original_formulation', false);
  reader.requires('start', 0);
  reader.requires('stop', 1);
  reader.rejectUnsupported();
  return { scale: reader.boolean('enabled', true) ? reader.number('guidance_scale', 7.5) : 1 };
}
