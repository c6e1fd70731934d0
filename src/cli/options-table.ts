/** Options of pipelines in tables, from the schema: for a terminal and for the documentation. */
import { supportedPipelines } from '../pipelines/registry.ts';
import { catalogue } from '../pipelines/schema/catalogue.ts';
import type { JsonSchema, OptionsSchema } from '../pipelines/schema/json-schema.ts';
import type { OptionName } from '../pipelines/schema/options.ts';
import { optionsSchema } from '../pipelines/schema/options-schema.ts';

const header = ['option', 'flag', 'default', 'range', 'what it is'];

/** A row for each option that JSON can hold, under a header. */
export function optionRows({ properties }: OptionsSchema): string[][] {
  const rows = Object.entries(properties).map(([name, schema]) => [
    name,
    (catalogue[name as OptionName].flag ?? '').replace(/ <.*/, ''),
    schema['default'] === undefined ? '' : String(schema['default']),
    rangeOf(schema),
    String(schema['description']),
  ]);
  return [header, ...rows];
}

function rangeOf({ minimum, maximum, multipleOf }: JsonSchema): string {
  if (minimum === undefined && maximum === undefined) return '';
  return `${minimum} to ${maximum}${multipleOf === undefined ? '' : `, multiples of ${multipleOf}`}`;
}

/** `docs/options.md`. */
export async function optionsPage(): Promise<string> {
  const intro = `# Options of generate

What \`generate\` takes, for each pipeline. \`npm run docs:options\` makes this page from the schemas that the checks, \`generate --help\` and
\`optionsSchema(pipeline)\`, a JSON Schema, are made from. \`deja-dit inspect MODEL --options\` shows a model's own defaults and ranges. Names in
snake_case are the same options, and null is the same as leaving one out. Tensors, \`onStep\` and \`signal\`, which JSON cannot hold, are
described at \`GenerateOptions\`.
`;
  const schemas = await Promise.all(supportedPipelines().map((name) => optionsSchema(name)));
  const sections = schemas.map((schema) => {
    const [head, ...rows] = optionRows(schema);
    const cells = rows.map(([option, flag, ...rest]) => [`\`${option}\``, flag && `\`${flag}\``, ...rest]);
    const lines = [head!, head!.map(() => '---'), ...cells].map((row) => `| ${row.join(' | ')} |`);
    return `\n## ${schema.title}\n\n${lines.join('\n')}\n`;
  });
  return intro + sections.join('');
}
