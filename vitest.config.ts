import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const nodePlatform = fileURLToPath(new URL('./src/platform/node.ts', import.meta.url));

export default defineConfig({
  resolve: {
    // Tests import `holdfast` from src/, as tsconfig.json maps it.
    tsconfigPaths: true,
    // package.json's own `imports` would win over tsconfig.json here, and lead to dist/.
    alias: { '#platform': nodePlatform },
  },
  test: {
    environment: 'node',
    include: ['test/**/*.test.ts'],
    coverage: { provider: 'v8', include: ['src/**/*.ts'], reporter: ['text', 'json-summary'] },
  },
});
