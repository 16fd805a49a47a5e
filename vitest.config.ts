import { defineConfig } from 'vitest/config';

// Unit tests are quick and pure; contract and integration tests start a nats-server per file; e2e runs the built processes in dist/.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
  },
});
