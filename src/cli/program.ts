/** Runs one command of `deja-dit`; `main.ts` says in which process. */
import { DejaDitError } from '../errors/errors.ts';
import { setWarningHandler } from '../errors/warnings.ts';
import { launchedBy } from '../runtime/launched-by.ts';
import { program } from './commands.ts';
import { inFlags } from './flags/flag-names.ts';
import { hearSupervisor } from './interrupt.ts';

hearSupervisor();
setWarningHandler((message) => {
  // Of several ranks the first speaks: what there is to warn of is the same on all.
  if ((launchedBy()?.rank ?? 0) === 0) console.error(`deja-dit: ${inFlags(message)}`);
});
try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof DejaDitError)) throw error;
  // The supervisor says that.
  if (error.code !== 'ABORTED') console.error(`deja-dit: ${inFlags(error.message)}`);
  process.exitCode = error.code === 'ABORTED' ? 130 : 1;
}
