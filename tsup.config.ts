import { defineConfig } from 'tsup';

/** The entries of package.json's `exports`. */
const entries = {
  index: 'src/index.ts',
  websocket: 'src/transports/websocket.ts',
  'drop-in': 'src/drop-in/reconnecting-web-socket.ts',
  'socket.io': 'src/transports/socket.io.ts',
  sse: 'src/transports/sse.ts',
  polling: 'src/transports/polling.ts',
  fallback: 'src/transports/fallback.ts',
  webhook: 'src/transports/webhook.ts',
  'message-pack': 'src/protocol/message-pack.ts',
  server: 'src/server/index.ts',
  'server/sqlite': 'src/server/sqlite-journal.ts',
  storage: 'src/storage/define.ts',
  'storage/indexed-db': 'src/storage/indexed-db.ts',
  'storage/sqlite': 'src/storage/sqlite.ts',
  testing: 'src/testing/index.ts',
  'testing/node': 'src/testing/node.ts',
};

export default defineConfig({
  entry: {
    ...entries,
    // Behind #platform, and nobody's import: they need no types.
    'platform/browser': 'src/platform/browser.ts',
    'platform/node': 'src/platform/node.ts',
  },
  format: ['esm', 'cjs'],
  platform: 'neutral',
  target: 'es2022',
  dts: { entry: entries },
  sourcemap: true,
  clean: true,
  // One copy of each class across entries, in CommonJS too.
  splitting: true,
  // Rollup writes the CommonJS chunks; without it sucrase does, with `?.` helpers in each file.
  treeshake: true,
  external: [/^#/],
});
