export function run(
  how: string,
  backend: string,
  count: number,
  delay?: number,
): { end: number | string | null; output: string };
