import { defineConfig } from 'vitest/config';

/** They plant milliseconds and look for them, or may take so many seconds: each has the machine to itself. */
const judgedByTheClock = ['test/e2e/ledger*.test.ts', 'test/e2e/demo.test.ts'];

// Unit tests import sources; the others start the built executable (the npm scripts build first). `npm test` names its projects: faults take
// minutes, and run by command.
export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 20_000 } },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          exclude: judgedByTheClock,
          testTimeout: 180_000,
          hookTimeout: 60_000,
          // Not beside unit tests, which leave no core free: most of these wait.
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'timed',
          include: judgedByTheClock,
          testTimeout: 180_000,
          hookTimeout: 60_000,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          name: 'faults',
          include: ['test/faults/**/*.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
    ],
    // Two cores: more workers than that only make the timed tests noisy.
    maxWorkers: 2,
  },
});
