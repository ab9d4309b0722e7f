/**
 * The layers. A folder of src/ imports only from itself and from the folders named beside it.
 * test/layers.test.ts plants a violation of each rule and expects it to be found.
 */
const layers = {
  lib: [],
  protocol: ['lib'],
  machine: ['lib', 'protocol'],
  client: ['lib', 'protocol', 'machine'],
  // What a platform offers: it knows nothing of holdfast.
  platform: [],
  transports: ['lib', 'protocol', 'machine', 'client', 'platform'],
  storage: ['lib', 'protocol', 'machine', 'client'],
  server: ['lib', 'protocol'],
  'drop-in': ['lib', 'protocol', 'machine', 'client', 'platform'],
  react: ['lib', 'protocol', 'machine', 'client'],
  elements: ['lib', 'protocol', 'machine', 'client'],
  testing: ['lib', 'protocol', 'machine', 'client', 'platform', 'transports', 'storage', 'server'],
};

const nodeFiles = [
  '^src/server/',
  '^src/platform/node\\.ts$',
  '^src/storage/sqlite[^/]*\\.ts$',
  '^src/transports/webhook(\\.ts$|/)',
  '^src/testing/node\\.ts$',
  '\\.node\\.ts$',
];

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    ...Object.entries(layers).map(([layer, above]) => ({
      name: `layer-${layer}`,
      comment: `src/${layer}/ may import from ${[layer, ...above].join(', ')} only.`,
      severity: 'error',
      from: { path: `^src/${layer}/` },
      to: { path: '^src/', pathNot: `^src/(${[layer, ...above].join('|')})/` },
    })),
    {
      name: 'layer-index',
      comment:
        'src/index.ts is the client alone: transports and the server have entries of their own.',
      severity: 'error',
      from: { path: '^src/index\\.ts$' },
      to: { path: '^src/', pathNot: '^src/(lib|protocol|machine|client)/' },
    },
    {
      name: 'layer-unknown',
      comment: 'A new folder of src/ needs its place among the layers.',
      severity: 'error',
      from: { path: '^src/', pathNot: `^src/((${Object.keys(layers).join('|')})/|index\\.ts$)` },
      to: {},
    },
    {
      name: 'no-tests-in-src',
      comment: 'What ships does not import tests, scripts, examples or benchmarks.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|scripts|examples|bench)/' },
    },
    {
      name: 'no-cycles',
      comment: 'Modules that import each other cannot be read, tested or loaded one by one.',
      severity: 'error',
      from: { path: '^src/' },
      to: { circular: true },
    },
    {
      name: 'port-only',
      comment: 'A transport sees three files of the client: the two ports and the environment.',
      severity: 'error',
      from: { path: '^src/transports/' },
      to: { path: '^src/client/', pathNot: '^src/client/(transport|dialect|environment)\\.ts$' },
    },
    {
      name: 'no-sibling-transports',
      comment: 'Each wire stands alone, so that an application bundles only the one it uses.',
      severity: 'error',
      from: { path: '^src/transports/([^/]+)\\.ts$', pathNot: '^src/transports/fallback\\.ts$' },
      to: {
        path: '^src/transports/([^/]+)\\.ts$',
        pathNot: '^src/transports/$1\\.ts$',
      },
    },
    {
      name: 'platform-by-name',
      comment: 'Import #platform: a path to one of its files would be bundled for every platform.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/platform/' },
      to: {
        path: '^src/platform/(node|browser)\\.ts$',
        dependencyTypesNot: ['aliased-tsconfig', 'aliased-subpath-import', 'aliased'],
      },
    },
    {
      name: 'schema-on-the-server',
      comment: 'src/protocol/schema.ts brings zod; clients check frames with guard.ts.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(server/|protocol/schema\\.ts$)' },
      to: { path: '^src/protocol/schema\\.ts$' },
    },
    {
      name: 'zod-on-the-server',
      comment: 'zod must not reach a client bundle.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(server/|protocol/schema\\.ts$)' },
      to: { path: '(^|/)node_modules/zod/' },
    },
    {
      name: 'ws-on-node',
      comment: 'ws must not reach a browser bundle.',
      severity: 'error',
      from: { path: '^src/', pathNot: nodeFiles },
      to: { path: '(^|/)node_modules/(@types/)?ws/' },
    },
    {
      name: 'node-modules-on-node',
      comment: 'Only files that never reach a browser import node:*.',
      severity: 'error',
      from: { path: '^src/', pathNot: nodeFiles },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'dependencies-only',
      comment: 'What ships imports only dependencies and optional peers of package.json.',
      severity: 'error',
      from: { path: '^src/' },
      to: {
        dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown', 'unknown'],
        pathNot: '(^|/)node_modules/(socket\\.io|standardwebhooks)/',
      },
    },
    {
      name: 'resolvable',
      comment: 'An import that leads nowhere hides from every other rule.',
      severity: 'error',
      from: { path: '^src/' },
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^dist/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['node', 'import'] },
  },
};
