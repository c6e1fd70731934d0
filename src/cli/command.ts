/** Commands whose errors are one line, and whose unknown flags are answered as unknown options are. */
import { Command } from 'commander';
import { suggest } from '../errors/errors.ts';

export class CliCommand extends Command {
  override createCommand(name?: string): CliCommand {
    return new CliCommand(name);
  }

  /** Called by commander for a flag that the command does not have. */
  unknownOption(flag: string): void {
    const known = this.options.filter(({ hidden }) => !hidden).map(({ long, short }) => long ?? short ?? '');
    this.error(`unknown flag '${flag}'; ${suggest(flag, known)}`, { code: 'commander.unknownOption' });
  }
}
