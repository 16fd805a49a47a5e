// Fewer open files than slots: a worker gives out no more work than it has connections for, and what still fails of it counts for nobody.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../src/process/version.js';
import { clientOf, enginesAt, metric, quiet, startCluster } from '../support/cluster.js';
import { startFakeEngine } from '../../services/fake-engine/server.js';

const underLimit = (files: number): readonly string[] => ['/bin/sh', '-c', `ulimit -n ${files}; exec "$0" "$@"`];

test('P1: a worker with 512 slots and 128 open files says so, uses as many slots as fit, and no request loses a sample', async () => {
  await using cluster = await startCluster();
  const coordinator = await cluster.start('coordinator');
  const worker = await cluster.start('grm-worker', enginesAt(cluster.engine.url, 512), underLimit(128));
  using client = clientOf(coordinator);
  await cluster.serving(client, 1, 0);
  expect(worker.log()).toMatch(
    /fewer slots than configured: 512 slots need a connection each, and with 128 open files/,
  );
  expect(await metric(worker, 'grm_slots')).toBe(60);
  // More than fit cannot be given either.
  expect(await client.setSlots(worker.node, 300)).toBe(60);

  cluster.engine.setFaults([{ kind: 'slow', probability: 1, delayMs: 500, on: 'generate' }]);
  const requests = Array.from({ length: 40 }, (_, number) => ({
    query: `Which answer to ${number} is better?`,
    responses: [`An answer of quality=9 to ${number}.`, `Another, quality=2, to ${number}.`],
    k: 8,
  }));
  for await (const result of client.scoreMany(requests, { concurrency: 40, deadlineMs: 120_000 })) {
    expect(result).toMatchObject({ kind: 'verdict', verdict: { kind: 'valid', kValid: 8, degraded: [] } });
  }
  expect(await metric(worker, 'grm_engine_out_of_service_total')).toBe(0);
  await quiet(client);
  expect((await client.status()).dead).toBe(0);
}, 180_000);

test('P5: samples for which no file is left are untaken, whatever becomes of the others', async () => {
  const engine = await startFakeEngine({ instant: true, faults: [{ kind: 'slow', probability: 1, delayMs: 1_000 }] });
  try {
    const program = `
      const { openOpenAiEngine } = await import(${JSON.stringify(join(packageRoot, 'dist', 'src', 'engine', 'openai.js'))});
      const { guardEngine } = await import(${JSON.stringify(join(packageRoot, 'dist', 'src', 'engine', 'guarded.js'))});
      const { Events } = await import(${JSON.stringify(join(packageRoot, 'dist', 'src', 'observe', 'events.js'))});
      const options = { name: 'e', baseUrl: ${JSON.stringify(engine.url)}, mode: 'chat', slots: 200, requestTimeoutMs: 60000 };
      const engine = guardEngine(await openOpenAiEngine(options), { events: new Events() });
      const samples = Array.from({ length: 200 }, (_, index) => ({ index, seed: index }));
      const results = [];
      const messages = [{ role: 'user', content: 'Which?' }];
      const job = { messages, samples, temperature: 1, topP: 1, maxTokens: 16, deadlineAtMs: Date.now() + 60000, priority: 0, requestId: 'r' };
      await engine.draw(job, (result) => results.push(result), new AbortController().signal);
      await engine.close();
      process.stdout.write(JSON.stringify(results));
    `;
    const [command, ...args] = [...underLimit(64), process.execPath, '--input-type=module', '-e', program];
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(0);
    const results = JSON.parse(out) as readonly {
      readonly kind: string;
      readonly reason?: string;
      readonly untaken?: true;
    }[];
    expect(results).toHaveLength(200);
    const failed = results.filter(({ kind }) => kind !== 'text');
    expect(failed.length).toBeGreaterThan(100);
    expect(failed.every(({ untaken }) => untaken)).toBe(true);
    expect(failed[0]?.reason).toMatch(/EMFILE.*raise `ulimit -n`/);
  } finally {
    await engine.close();
  }
}, 60_000);
