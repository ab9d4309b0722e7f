import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Tests import `holdfast` and `#platform` from src/, as tsconfig.json maps them.
  resolve: { tsconfigPaths: true },
  test: {
    environment: 'node',
    include: ['test/**/*.test.ts'],
    coverage: { provider: 'v8', include: ['src/**/*.ts'], reporter: ['text', 'json-summary'] },
  },
});
