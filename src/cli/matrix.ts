/**
 * `deja-dit matrix`: which family can do what, as a table in which every tick stands for tests that ran: it is made from a
 * test report, not from what the code says of itself.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { DejaDitError } from '../errors/errors.ts';
import { readJsonFile } from '../files/json.ts';
import { markdownTable } from '../metrics/markdown-table.ts';

interface Report {
  testResults: { name: string; assertionResults: { status: string; ancestorTitles: string[]; title: string }[] }[];
}

interface Test {
  file: string;
  title: string;
  passed: boolean;
}

/** What a column counts: tests in files below `folder` whose full title names the family. */
const columns: { title: string; counts(test: Test, family: Family): boolean }[] = [
  {
    title: 'equal to Diffusers',
    counts: ({ file, title }, { folder }) =>
      file.includes(`src/models/transformers/${folder}/`) && /equal Diffusers|recorded sample/.test(title),
  },
  { title: 'pipeline', counts: ({ file }, { folder }) => file.includes(`src/pipelines/${folder}/`) },
  {
    title: 'cache-dit runs replayed',
    counts: ({ file, title }, { folder }) =>
      file.includes('src/cache/run/replay') && title.startsWith(`cache-dit on ${folder} `),
  },
  {
    title: 'quantised',
    counts: ({ file, title }, { folder }) => file.includes('src/quantize/families') && title.startsWith(`${folder} `),
  },
];

interface Family {
  folder: string;
  className: string;
}

/** @param report JSON of `vitest run --reporter=json` */
export async function matrix(report: string): Promise<void> {
  const tests = await readReport(report);
  const families = readFamilies();
  const rows = families.map((family) => [
    `\`${family.className}\``,
    ...columns.map(({ counts }) => {
      const counted = tests.filter((test) => counts(test, family));
      const failed = counted.filter(({ passed }) => !passed).length;
      if (counted.length === 0) return '';
      return failed > 0 ? `✗ ${failed} of ${counted.length} fail` : `✓ ${counted.length}`;
    }),
  ]);
  console.log('# What works\n');
  console.log(
    'Made by `npm run matrix` from a test run: ✓ with the number of tests that passed; an empty cell has none.\n',
  );
  console.log(markdownTable(['transformer', ...columns.map(({ title }) => title)], rows));
}

async function readReport(file: string): Promise<Test[]> {
  let report: Report;
  try {
    report = (await readJsonFile(file)) as unknown as Report;
  } catch (cause) {
    throw new DejaDitError('INVALID_FILE', 'is no JSON report of vitest', { path: file, cause });
  }
  return report.testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map(({ status, ancestorTitles, title }) => ({
      file: name,
      title: [...ancestorTitles, title].join(' '),
      passed: status === 'passed',
    })),
  );
}

/** The families by their folders in the sources, which this command is run from. */
function readFamilies(): Family[] {
  const folder = path.resolve('src/models/transformers');
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => ({ folder: name, className: classNameOf(name) }));
  } catch (cause) {
    throw new DejaDitError('NOT_FOUND', 'run this in a checkout of deja-dit', { path: folder, cause });
  }
}

function classNameOf(folder: string): string {
  const config = JSON.parse(readFileSync(path.resolve('fixtures/models', folder, 'config.json'), 'utf8')) as {
    _class_name: string;
  };
  return config._class_name;
}
