// Fails where the files that git tracks weigh more than a clone may: `npm run lint` runs it. Recordings grow unnoticed otherwise.
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';

const limit = 110e6;

const sizes = execFileSync('git', ['ls-files', '-z'], { encoding: 'utf8', maxBuffer: 1e8 })
  .split('\0')
  .flatMap((file) => {
    // An empty name ends the list; a file that was removed and not yet committed weighs nothing.
    const bytes = file && statSync(file, { throwIfNoEntry: false })?.size;
    return bytes ? [{ file, bytes }] : [];
  });
const total = sizes.reduce((sum, { bytes }) => sum + bytes, 0);
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`;
if (total > limit) {
  const largest = sizes
    .filter(({ file }) => file.startsWith('fixtures/'))
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, 10);
  console.error(`tracked files: ${megabytes(total)}, ${megabytes(limit)} are allowed. The largest fixtures:`);
  for (const { file, bytes } of largest) console.error(`  ${megabytes(bytes)}  ${file}`);
  process.exit(1);
}
console.log(`tracked files: ${megabytes(total)} of ${megabytes(limit)}`);
