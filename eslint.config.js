import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** The only files that touch the machine they run on; everything else is handed what it needs. */
const edges = [
  'src/client/environment.ts',
  'src/server/environment.ts',
  'src/platform/*.ts',
  'src/elements/**',
  'src/react/**',
  'src/storage/indexed-db.ts',
  'src/storage/web-lock.ts',
  'src/testing/node.ts',
  // Its hop: one real macrotask, after which every promise has settled.
  'src/testing/virtual-clock.ts',
  'src/**/*.node.ts',
];
/** Where `unknown` enters and leaves typed. */
const doors = ['src/protocol/codec.ts', 'src/protocol/guard.ts', 'src/lib/emitter.ts'];

const injected = 'is injected: take a Clock, or what src/client/environment.ts offers.';
const ambient = [
  'setTimeout',
  'clearTimeout',
  'setInterval',
  'clearInterval',
  'setImmediate',
  'clearImmediate',
  'requestAnimationFrame',
  'requestIdleCallback',
  'performance',
  'crypto',
  'window',
  'self',
  'document',
  'navigator',
  'location',
  'localStorage',
  'globalThis',
  'process',
].map((name) => ({ name, message: `${name} ${injected}` }));

/** Directives that switch a rule off say why, after ` -- `. */
const reasons = {
  meta: { type: 'suggestion', schema: [], messages: { why: 'Say why, after " -- ".' } },
  create: (context) => ({
    Program() {
      for (const comment of context.sourceCode.getAllComments()) {
        const directive = /^\s*(eslint-disable|@ts-(ignore|expect-error|nocheck))/.test(
          comment.value,
        );
        const reason = comment.value.startsWith(' @ts-') ? /@ts-\S+ \S/ : / -- \S/;
        if (directive && !reason.test(comment.value)) {
          context.report({ loc: comment.loc, messageId: 'why' });
        }
      }
    },
  }),
};

// Biome formats and lints; ESLint adds the rules that need types, and those of the house.
export default defineConfig(
  globalIgnores(['dist/', 'coverage/', 'reports/', 'test/package/consumers/', '**/*.{js,cjs,mjs}']),
  js.configs.recommended,
  tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    plugins: { house: { rules: { reasons } } },
    rules: {
      'house/reasons': 'error',
      'no-eval': 'error',
      'no-new-func': 'error',
      '@typescript-eslint/no-implied-eval': 'error',
      '@typescript-eslint/no-base-to-string': 'off',
      '@typescript-eslint/restrict-template-expressions': 'off',
      // The compiler says this too, and knows that a value may serve its type alone.
      '@typescript-eslint/no-unused-vars': 'off',
      // Our objects are closures: their methods may be taken off them.
      '@typescript-eslint/unbound-method': 'off',
      // A function typed as async may have nothing to wait for.
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    files: ['src/**'],
    rules: {
      'no-console': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
    },
  },
  {
    // Where reports go that nobody asked to hear.
    files: edges,
    rules: { 'no-console': 'off' },
  },
  {
    files: ['src/**'],
    ignores: doors,
    rules: {
      '@typescript-eslint/consistent-type-assertions': ['error', { assertionStyle: 'never' }],
    },
  },
  {
    files: ['src/**'],
    ignores: edges,
    rules: {
      'no-restricted-globals': ['error', ...ambient],
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random', message: `Chance ${injected}` },
      ],
      // `new Date(ms)` reads no clock and stays allowed.
      'no-restricted-syntax': [
        'error',
        ...[
          "MemberExpression[object.name='Date']",
          "CallExpression[callee.name='Date']",
          "NewExpression[callee.name='Date'][arguments.length=0]",
        ].map((selector) => ({ selector, message: `Time ${injected}` })),
      ],
    },
  },
  {
    // On Node alone, where the global is what a library would wrap.
    files: [
      'src/server/**',
      'src/storage/sqlite.ts',
      'src/transports/webhook.ts',
      'src/transports/webhook/**',
    ],
    ignores: edges,
    rules: {
      'no-restricted-globals': ['error', ...ambient.filter(({ name }) => name !== 'crypto')],
    },
  },
  {
    // What a client returns needs no `await`: its rejections are caught, and the examples show that.
    files: ['examples/**'],
    rules: { '@typescript-eslint/no-floating-promises': 'off' },
  },
  {
    // Tests feed and read values of any shape.
    files: ['test/**'],
    rules: {
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
);
