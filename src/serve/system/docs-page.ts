/** The OpenAPI document as a page: no script, no request to anywhere. */
type Document = { info: { title: string; description?: string }; paths?: object };

interface Operation {
  tags?: string[];
  summary?: string;
  requestBody?: { content: Record<string, { schema: Schema }> };
}

interface Schema {
  description?: string;
  type?: string | string[];
  enum?: unknown[];
  properties?: Record<string, Schema>;
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
}

export function docsPage({ info, paths = {} }: Document): string {
  const operations = Object.entries(paths as Record<string, Record<string, Operation>>).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })),
  );
  const tags = [...new Set(operations.map(({ tags }) => tags?.[0] ?? ''))];
  const section = (tag: string) =>
    `<h2>${escaped(tag)}</h2>${operations
      .filter(({ tags }) => (tags?.[0] ?? '') === tag)
      .map(
        ({ method, path, summary = '', requestBody }) =>
          `<details><summary><b>${method}</b> <code>${escaped(path)}</code> ${escaped(summary)}</summary>${body(requestBody)}</details>`,
      )
      .join('')}`;
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escaped(info.title)}</title><style>
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}
summary{cursor:pointer;padding:.2rem 0}b{display:inline-block;min-width:4rem}table{border-collapse:collapse;margin:.5rem 0 1rem}
td{border-top:1px solid #8884;padding:.2rem .8rem .2rem 0;vertical-align:top}</style>
<h1>${escaped(info.title)}</h1><p>${escaped(info.description ?? '')} <a href="/openapi.json">openapi.json</a></p>
${tags.map(section).join('\n')}</html>`;
}

function body(requestBody: Operation['requestBody']): string {
  return Object.entries(requestBody?.content ?? {})
    .map(([type, { schema }]) => {
      const rows = Object.entries(schema.properties ?? {}).map(
        ([name, field]) =>
          `<tr><td><code>${escaped(name)}</code><td>${escaped(kind(field))}<td>${escaped(field.description ?? '')}`,
      );
      return `<p>${escaped(type)}${schema.description ? `: ${escaped(schema.description)}` : ''}<table>${rows.join('')}</table>`;
    })
    .join('');
}

function kind({ type, enum: values, anyOf, oneOf, items }: Schema): string {
  const alternatives = anyOf ?? oneOf;
  if (values) return values.map((value) => JSON.stringify(value)).join(' | ');
  if (alternatives) return alternatives.map(kind).join(' | ');
  if (items) return `${kind(items)}[]`;
  return [type ?? 'any'].flat().join(' | ');
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}
