/** The tests that `npm run mutants` runs against each mutant: those of the machine, without the long ones. */
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const nodePlatform = fileURLToPath(new URL('./src/platform/node.ts', import.meta.url));

/** The random stories come last: most mutants are dead by then. */
class StoriesLast extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const stories = (file: TestSpecification) => Number(file.moduleId.includes('/fuzz/'));
    return (await super.sort(files)).sort((one, other) => stories(one) - stories(other));
  }
}

export default defineConfig({
  resolve: { alias: { '#platform': nodePlatform } },
  test: {
    environment: 'node',
    // No test file leaves anything behind that another one could see.
    isolate: false,
    sequence: { sequencer: StoriesLast },
    include: ['test/machine/**/*.test.ts'],
    // A storm of 10,000 clients and 2,000 random stories cost a second for each mutant; the guide runs no code.
    exclude: ['storm', 'fuzz', 'guide'].map((name) => `test/machine/${name}.test.ts`),
  },
});
