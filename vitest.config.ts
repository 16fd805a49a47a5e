import { defineConfig } from 'vitest/config';

// Unit tests are quick and pure; contract and integration tests start a nats-server per file; e2e runs the built processes in dist/.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    maxWorkers: 2,
    // Bounds for what hangs. A machine that is busy with something else takes many times as long as an idle one, and that is no failure.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 10_000,
    expect: { poll: { timeout: 60_000, interval: 20 } },
  },
});
