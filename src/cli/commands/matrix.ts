/** `deja-dit matrix`: the page of what works, from a test report. For contributors; `npm run matrix` calls it. */

import { readJsonFile } from '../../files/json.ts';
import { coverageTable, readCoverage } from '../../lab/coverage.ts';
import { supportedTransformers } from '../../models/registry.ts';

/** @param report JSON of `vitest run --reporter=json` */
export async function matrix(report: string): Promise<void> {
  // An old name that two families share is no family.
  const families = supportedTransformers().filter((name) => name !== 'Transformer2DModel');
  const table = coverageTable(readCoverage(await readJsonFile(report)), families);
  console.log(`# What works

Made by \`npm run matrix\` from a test run: ✓ with the number of tests that passed and, in brackets, the largest error that any of
them saw (max |difference| / max |value|; of quantised models, against themselves in float32). An empty cell has no tests.

${table}`);
}
