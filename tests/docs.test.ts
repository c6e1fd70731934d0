/** Every code sample and command line of the documentation, read out of the pages: TypeScript is type-checked, commands are parsed. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Command } from 'commander';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { supportedTransformers } from '../src/models/registry.ts';
import { supportedPipelines } from '../src/pipelines/registry.ts';

const root = path.resolve(import.meta.dirname, '..');
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');

interface Sample {
  /** Page and line. */
  at: string;
  language: string;
  text: string;
}

const pages = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'bench/README.md', 'models/emoji-flux/README.md'].concat(
  ts.sys.readDirectory(path.join(root, 'docs'), ['.md'], ['api']).map((file) => path.relative(root, file)),
  ts.sys.readDirectory(path.join(root, 'examples'), ['.md'], ['node_modules']).map((file) => path.relative(root, file)),
);

/** The fenced blocks of a page. */
function blocksOf(page: string): Sample[] {
  const samples: Sample[] = [];
  let open: Sample | undefined;
  for (const [i, line] of read(page).split('\n').entries()) {
    const fence = /^```(.*)$/.exec(line);
    if (!fence) {
      if (open) open.text += `${line}\n`;
    } else if (open) {
      samples.push(open);
      open = undefined;
    } else open = { at: `${page}:${i + 1}`, language: fence[1]!, text: '' };
  }
  return samples;
}

/** The examples in doc comments. */
function examplesOf(file: string): Sample[] {
  return [...read(file).matchAll(/@example\n((?: *\*(?: .*)?\n)+?) *(?:\* @|\*\/)/g)].map((match) => ({
    at: `${file}:${read(file).slice(0, match.index).split('\n').length}`,
    language: 'ts',
    text: match[1]!.replace(/^ *\* ?/gm, ''),
  }));
}

const samples = pages.flatMap(blocksOf);
const sources = ts.sys
  .readDirectory(path.join(root, 'src'), ['.ts'], ['**/*.test.ts', '**/testing/**'])
  .map((file) => path.relative(root, file));
const examples = sources.flatMap(examplesOf);

/** What samples leave to the reader. */
const given: Readonly<Record<string, string>> = {
  path: 'string',
  prompt: 'string',
  token: 'string',
  pipe: "import('deja-dit').Pipeline",
  model: "import('deja-dit').TransformerModel",
  image: "import('deja-dit').Image",
  signal: 'AbortSignal',
  canvas: 'HTMLCanvasElement',
  input: 'HTMLInputElement & { files: FileList }',
  ...Object.fromEntries(
    ['hidden_states', 'encoder_hidden_states', 'pooled_projections', 'timestep', 'img_ids', 'txt_ids'].map((name) => [
      name,
      "import('deja-dit').Tensor",
    ]),
  ),
};
const givenTypes = `
  interface SomeConfig { width: number; blocks: number }
  type SomeState = { hidden_states: import('deja-dit/models').SymbolicTensor };
`;

function exportsOf(file: string, kind: 'all' | 'values' = 'all'): string[] {
  const lists = read(file).matchAll(/^export (type )?\{([^}]*)\}/gm);
  const names = [...lists].flatMap(([, type = '', list]) => list!.split(',').map((name) => type + name.trim()));
  return names
    .filter((name) => name !== '' && !(kind === 'values' && name.startsWith('type ')))
    .map((name) => name.replace(/^type /, ''));
}

/** A sample as a module: with what it takes for granted before it. */
function moduleOf({ at, text }: Sample, imports: boolean): string {
  const code = text.replace(/\/\/.*$/gm, '');
  const uses = (name: string) => new RegExp(`(?<![.\\w'/-])${name}\\b(?!\\s*:)`).test(code);
  const declares = (name: string) =>
    new RegExp(`\\b(?:const|let|using|function|class)\\s+(?:${name}\\b|[{[][^=]*\\b${name}\\b[^=]*[}\\]]\\s*=)`).test(
      code,
    ) || new RegExp(`import [^;]*\\b${name}\\b[^;]* from`).test(code);
  const lines = Object.entries(given)
    .filter(([name]) => uses(name) && !declares(name))
    .map(([name, type]) => `declare const ${name}: ${type};`);
  if (/\bSome(Config|State)\b/.test(code)) lines.push(givenTypes);
  if (imports) {
    const face = /^src\/(web|runtime\/ort-web)\//.test(at) ? 'web' : 'index';
    const names = exportsOf(`src/${face}.ts`).filter((name) => uses(name) && !declares(name));
    const from = face === 'web' ? 'deja-dit/web' : 'deja-dit';
    if (names.length > 0) lines.push(`import { ${names.join(', ')} } from '${from}';`);
    if (uses('linear')) lines.push("import { linear } from 'deja-dit/models';");
  }
  return `${lines.join('\n')}\n${text}\nexport {};\n`;
}

/** Type-checks modules that are in no file, as if they lay beside `package.json`. */
function check(modules: ReadonlyMap<string, string>): Map<string, string[]> {
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(path.join(root, 'tsconfig.json'), ts.sys.readFile).config,
    ts.sys,
    root,
  );
  const settings: ts.CompilerOptions = {
    ...options,
    lib: ['lib.es2023.d.ts', 'lib.dom.d.ts'],
    noUncheckedIndexedAccess: false,
  };
  const host = ts.createCompilerHost(settings);
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (file) => modules.has(file) || fileExists(file);
  host.readFile = (file) => modules.get(file) ?? readFile(file);
  host.getSourceFile = (file, ...rest) => {
    const text = modules.get(file);
    return text === undefined ? getSourceFile(file, ...rest) : ts.createSourceFile(file, text, ts.ScriptTarget.ESNext);
  };
  const program = ts.createProgram([...modules.keys()], settings, host);
  return new Map(
    [...modules.keys()].map((file) => {
      const source = program.getSourceFile(file)!;
      const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
      return [file, found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '))];
    }),
  );
}

describe('TypeScript of the documentation', () => {
  const checked = [
    ...samples
      .filter(({ language }) => language === 'ts')
      .map((sample) => ({ ...sample, module: moduleOf(sample, false) })),
    ...examples.map((sample) => ({ ...sample, module: moduleOf(sample, true) })),
    { at: 'examples/server.ts', text: '', module: read('examples/server.ts') },
  ];
  const fileOf = (i: number) => {
    // What is written inside the repository lies where it says.
    const { text } = checked[i]!;
    const folder = text.includes("from '../../testing/") ? 'src/models/transformers/sample' : 'src/pipelines/sample';
    return path.join(root, /from '(\.\.\/)+testing\//.test(text) ? folder : '', `sample-${i}.ts`);
  };
  const wrong = path.join(root, 'sample-wrong.ts');
  let results: Map<string, string[]>;
  it.each(checked.map((sample, i) => [sample.at, i] as const))('%s', (_, i) => {
    results ??= check(
      new Map([
        ...checked.map(({ module }, n) => [fileOf(n), module] as const),
        [wrong, 'export const x: string = 1;'],
      ]),
    );
    // Or else nothing is checked at all.
    expect(results.get(wrong)).toHaveLength(1);
    expect(results.get(fileOf(i))).toEqual([]);
  });

  it('every main export has an example', () => {
    const named = examples.map(({ text }) => text).join('\n');
    const values = exportsOf('src/index.ts', 'values');
    expect(values.filter((name) => !new RegExp(`\\b${name}\\b`).test(named))).toEqual([]);
  });
});

/** The command lines of shell blocks: continued lines joined, comments and prompts left out, one command each. */
const commands = samples
  .filter(({ language, text }) => language === 'sh' || (language === '' && text.startsWith('deja-dit ')))
  .flatMap(({ at, text }) =>
    text
      .replace(/\\\n/g, ' ')
      .split('\n')
      .flatMap((line) => line.replace(/(^|\s)#.*$/, '').split('&&'))
      .map((line) => line.trim())
      .filter((line) => line !== '')
      .map((line) => ({ at, line })),
  );

/** Words of a command line, quotes taken off. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, a, b, c]) => a ?? b ?? c ?? '');
}

async function parse(words: readonly string[]): Promise<void> {
  const { program } = (await import(
    path.join(root, 'dist/cli/commands.js')
  )) as typeof import('../src/cli/commands.ts');
  const stub = (command: Command): void => {
    command.exitOverride().configureOutput({ writeErr: () => {} });
    if (command.commands.length === 0) command.action(() => {});
    command.commands.forEach(stub);
  };
  stub(program);
  await program.parseAsync(['node', 'deja-dit', ...words]);
}

const others = ['.ci/run', 'cp', 'curl', 'esbuild', 'export', 'git', 'hf', 'huggingface-cli', 'sudo', 'vitest'];

describe('command lines of the documentation', () => {
  const scripts = JSON.parse(read('package.json')).scripts as Record<string, string>;
  it.each(commands.map(({ at, line }) => [at, line] as const))('%s: %s', async (_, line) => {
    const [first, second, ...rest] = wordsOf(line.replace(/^(?:[A-Z_]+=\S* )+/, '').replace(/^npx (-y )?/, ''));
    if (first === 'deja-dit') await expect(parse([second!, ...rest])).resolves.toBeUndefined();
    else if (first === 'npm' && second === 'run')
      expect(Object.keys(scripts)).toContain(rest.find((word) => !word.startsWith('-')));
    else if (first === 'npm') expect(['ci', 'test', 'install', 'pack', 'config']).toContain(second);
    else if (first === 'node') expect(existsSync(path.join(root, second!))).toBe(true);
    else if (first!.startsWith('bench/')) expect(existsSync(path.join(root, first!))).toBe(true);
    else expect(others).toContain(first);
  });

  it('are found', () => expect(commands.length).toBeGreaterThan(20));
});

describe('the README', () => {
  it('counts what is there', () => {
    const text = read('README.md');
    expect(text).toContain(`\n${supportedPipelines().length} pipeline classes:\n`);
    expect(text).toContain(`\n${supportedTransformers().length - 1} transformers and the UNet `);
  });

  it('draws with its first sample and its command lines', { timeout: 300_000 }, async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'deja-dit-readme-'));
    const exec = promisify(execFile);
    try {
      const [sample] = samples.filter(({ at, language }) => at.startsWith('README.md') && language === 'ts');
      const script = path.join(root, 'out', `readme-${process.pid}.mjs`);
      const settings = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
      mkdirSync(path.dirname(script), { recursive: true });
      writeFileSync(script, ts.transpileModule(sample!.text, { compilerOptions: settings }).outputText);
      await exec(process.execPath, [script], { cwd: folder }).finally(() => rmSync(script));
      expect(existsSync(path.join(folder, 'apple.png'))).toBe(true);
      const lines = commands.filter(
        ({ at, line }) => at.startsWith('README.md') && /deja-dit (generate|doctor)/.test(line),
      );
      expect(lines.length).toBeGreaterThan(2);
      for (const { line } of lines.filter(({ line }) => !/path\/|org\//.test(line)))
        await exec(
          process.execPath,
          [path.join(root, 'dist/cli/main.js'), ...wordsOf(line.replace(/^npx deja-dit /, ''))],
          { cwd: folder },
        );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
