/**
 * Renders Jinja templates within a budget of work, because those of a model repository may ask for any amount of it. Parsing and
 * evaluating are `@huggingface/jinja`'s; which templates and variables there are is left to `chat-template.ts`.
 */

/** What this file uses of the library (whose own types do not resolve in ESM projects). */
interface Jinja {
  tokenize(source: string, options: { lstrip_blocks: boolean; trim_blocks: boolean }): unknown;
  parse(tokens: unknown): unknown;
  Environment: new () => { set(name: string, value: unknown): void };
  Interpreter: new (
    scope: object,
  ) => {
    run(program: unknown): { value: unknown };
    evaluate(node: unknown, scope: unknown): { value: unknown } | undefined;
  };
  Template: new (source: string) => { render(variables: object): string };
}

const longestTemplate = 1_000_000;

/** Evaluated nodes, plus the elements of the lists and every 64th character of the texts that come out of them. Real templates need 10,000. */
const work = 1_000_000;

const longestRange = 100_000;

/** @throws Error from the template's syntax, from its own `raise_exception`, or once the budget is spent */
export async function compileTemplate(source: string): Promise<(variables: Record<string, unknown>) => string> {
  if (source.length > longestTemplate) throw new RangeError(`it has more than ${longestTemplate} characters`);
  const { Environment, Interpreter, parse, Template, tokenize } = (await import(
    '@huggingface/jinja'
  )) as unknown as Jinja;

  class BoundedInterpreter extends Interpreter {
    #left = work;

    override evaluate(node: unknown, scope: unknown): { value: unknown } | undefined {
      const result = super.evaluate(node, scope);
      this.#left -= 1 + sizeOf(result?.value);
      if (this.#left < 0) throw new RangeError('it does more work than any chat template needs');
      return result;
    }
  }

  return (variables) => {
    const scope = new Environment();
    const names = {
      ...{ true: true, false: false, none: null, True: true, False: false, None: null },
      raise_exception: (message: unknown) => {
        throw new Error(String(message));
      },
      range,
      strftime_now: (format: unknown) => new Template('{{ strftime_now(format) }}').render({ format }),
      ...variables,
    };
    for (const [name, value] of Object.entries(names)) scope.set(name, value);
    const program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
    return String(new BoundedInterpreter(scope).run(program).value);
  };
}

function sizeOf(value: unknown): number {
  if (typeof value === 'string') return value.length / 64;
  if (Array.isArray(value)) return value.length;
  return value instanceof Map ? value.size : 0;
}

/** Python's `range`, but a list. */
function range(start: number, stop?: number, step = 1): number[] {
  if (stop === undefined) return range(0, start);
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= longestRange)) throw new RangeError(`range(${start}, ${stop}, ${step}) has no end in sight`);
  return Array.from({ length }, (_, i) => start + i * step);
}
