/** The command's side of `supervise.ts`: being asked to stop, and telling what would be left if it were ended by force. */
import { announceTemporaries } from '../files/temporary.ts';

const controller = new AbortController();

/** Fires when the supervisor asks to stop. */
export const interrupted: AbortSignal = controller.signal;

/** Hears the supervisor. Called once, where the process begins. */
export function hearSupervisor(): void {
  if (!process.channel) return;
  // A terminal sends Ctrl-C to both processes; the supervisor's is the one that counts.
  process.on('SIGINT', () => {});
  process.on('message', (message) => message === 'stop' && controller.abort());
  // Without a supervisor nobody waits for the result.
  process.on('disconnect', () => process.exit(1));
  announceTemporaries((temporary) => process.send?.({ temporary }));
  process.channel.unref();
}
