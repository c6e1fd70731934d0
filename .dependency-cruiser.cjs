// The layers of docs/architecture.md, top to bottom. A folder may import from folders below it, never from one above.
const layers = [
  'cli',
  'serve',
  'web',
  'lab',
  'api',
  'pipelines',
  'cache',
  'parallel',
  'quantize',
  'models',
  'nn',
  'weights',
  'runtime',
  'graph',
  'schedulers',
  'tokenizers',
  'metrics',
  'images',
  'tensor',
  'files',
  'errors',
];

// The same within cache/, for what is more than a type.
const cacheLayers = ['run', 'report', 'decide', 'adapters', 'config', 'forecasters'];

const below = (root, names, to = {}) =>
  names.slice(1).map((name, i) => ({
    name: `${root.replace('src/', '')}${name}-imports-only-below`,
    severity: 'error',
    from: { path: `^${root}${name}/`, pathNot: '\\.test\\.ts$' },
    to: { path: `^${root}(${names.slice(0, i + 1).join('|')})/`, ...to },
  }));

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    ...below('src/', layers),
    ...below('src/cache/', cacheLayers, { dependencyTypesNot: ['type-only'] }),
    {
      name: 'cache-does-not-quantise',
      severity: 'error',
      from: { path: '^src/cache/', pathNot: '\\.test\\.ts$' },
      to: { path: '^src/quantize/' },
    },
    {
      name: 'nothing-imports-the-index',
      severity: 'error',
      from: { path: '^src/', pathNot: '\\.test\\.ts$|^src/cli/' },
      to: { path: '^src/index\\.ts$' },
    },
    {
      name: 'only-backends-know-onnxruntime',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/runtime/ort-|\\.test\\.ts$' },
      to: { path: 'onnxruntime' },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
  },
};
