/** Parts of a form, which are all texts, as the fields of a JSON body. */
import { Problem } from '../http/problem.ts';

/** Whatever they look like, these are texts. */
const texts = new Set(['prompt', 'negative_prompt', 'model', 'size', 'user', 'style', 'quality', 'seconds']);

/** Parts that are pictures, whichever protocol names them so. */
const pictureNames = [
  'image',
  'images',
  'url',
  'input_reference',
  'reference_image',
  'reference_url',
  'image_reference',
];

/** Of inpainting: what is transparent in `mask`, or white in `mask_image`, is drawn anew. */
export interface Mask {
  name: 'mask' | 'mask_image';
  part: Blob | string;
}

export interface FormParts {
  fields: Record<string, unknown>;
  /** Files, or what stands for one. */
  pictures: (Blob | string)[];
  mask: Mask | undefined;
}

/** @throws Problem 400 for a field that is given twice, or as a file */
export function formFields(parts: ReadonlyMap<string, readonly (Blob | string)[]>): FormParts {
  const fields: Record<string, unknown> = {};
  const pictures: (Blob | string)[] = [];
  let mask: Mask | undefined;
  for (const [name, values] of parts) {
    if (pictureNames.includes(name)) {
      pictures.push(...values.filter((value) => value !== ''));
      continue;
    }
    const [value] = values;
    if (values.length > 1) throw new Problem(400, 'is given twice', { param: name });
    if (name === 'mask' || name === 'mask_image') {
      if (mask) throw new Problem(400, `is given beside ${mask.name}`, { param: name });
      mask = { name, part: value! };
      continue;
    }
    if (typeof value !== 'string') throw new Problem(400, 'expected a text, not a file', { param: name });
    fields[name] = texts.has(name) ? value : fieldValue(value);
  }
  return { fields, pictures, mask };
}

/** `true`, `2` and `{"a": 1}` as what they stand for. */
function fieldValue(text: string): unknown {
  if (text === '') return null;
  if (!/^\s*([-\d.{["]|true\s*$|false\s*$|null\s*$)/.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
