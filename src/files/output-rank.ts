/** Whether this process writes the files that a program asks for: of several that run it together, the first does. */

let first = true;

export const writesOutputs = (): boolean => first;

/** Leaves that to another process from now on. */
export function leaveOutputs(): void {
  first = false;
}
