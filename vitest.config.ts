import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: '#platform', replacement: source('platform/node.ts') },
      { find: /^holdfast$/, replacement: source('index.ts') },
      { find: /^holdfast\/websocket$/, replacement: source('transports/websocket.ts') },
      { find: /^holdfast\/server$/, replacement: source('server/index.ts') },
      { find: /^holdfast\/testing$/, replacement: source('testing/index.ts') },
    ],
  },
  test: {
    environment: 'node',
    include: ['test/**/*.test.ts'],
  },
});
