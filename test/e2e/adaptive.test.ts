// Adaptive k with real processes: what it says at every door, what engines are spared, and a coordinator that dies between waves.

import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import type { ScoreRequest } from '../../src/rpc/client.js';
import { cliFolder, jsonLines } from '../support/cli.js';
import { clientOf, enginesAt, once, quiet, settled, startCluster } from '../support/cluster.js';
import { closedGate, startEngineProxy } from '../support/engine-proxy.js';
import { until } from '../support/processes.js';

function request(name: string, more: Partial<ScoreRequest> = {}): ScoreRequest {
  return {
    query: `Which answer to ${name} is better?`,
    responses: [`An answer of quality=8 to ${name}.`, `Another, quality=3, to ${name}.`],
    idempotencyKey: name,
    k: 32,
    vote: 'sum',
    ...more,
  };
}

test.concurrent(
  'judges that agree are asked a few times; gRPC, the command line and the stored verdict say what was saved',
  async () => {
    // Engines are asked for what the rule sees alone: that can be counted.
    await using cluster = await startCluster({}, { GRM_COORDINATOR__WAVES: 'small' });
    const coordinator = await cluster.start('coordinator');
    await cluster.start('grm-worker');
    using client = clientOf(coordinator);
    await cluster.serving(client, 1, 0);

    const verdict = await client.score(request('confident', { stop: 'confident', stopError: 0.02 }));
    const { kDrawn, samplesSaved } = verdict.stopping!;
    expect(verdict).toMatchObject({ kind: 'valid', best: 0, k: 32, kValid: kDrawn, degraded: [] });
    expect(verdict.stopping).toMatchObject({ stop: { rule: 'confident', error: 0.02 }, stopped: 'confident' });
    expect(kDrawn).toBeLessThanOrEqual(16);
    expect(kDrawn + samplesSaved).toBe(32);
    await quiet(client);
    expect(cluster.engine.stats().requests).toBe(kDrawn);
    expect((await client.verdict('confident'))?.verdict).toEqual({ ...verdict, stored: true });

    const fixed = await client.score(request('fixed', { stop: 'outcome_fixed' }));
    // Five points a sample: 5 m > 9 (32 - m) first holds at 21, the second look.
    expect(fixed.stopping).toEqual({
      stop: { rule: 'outcome_fixed' },
      stopped: 'outcome_fixed',
      kDrawn: 21,
      samplesSaved: 11,
    });
    expect(await client.score(request('all'))).not.toHaveProperty('stopping');
    await quiet(client);
    expect(cluster.engine.stats().requests).toBe(kDrawn + 21 + 32);

    await using cli = await cliFolder({ GRM_ADDRESS: coordinator.grpc });
    const { query, responses } = request('from the command line');
    const rows = [
      { query, responses },
      { query, responses, options: { stop: 'none', k: 4 } },
    ];
    await writeFile(cli.file('rows.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    const flags = ['--k', '32', '--vote', 'sum', '--stop', 'confident'];
    const scored = await cli.run(['score', cli.file('rows.jsonl'), ...flags]);
    expect(scored.code, scored.err).toBe(0);
    const [stopped, whole] = jsonLines(scored.out);
    expect(stopped).toMatchObject({ k: 32, stopped: 'confident' });
    expect(Number(stopped!.k_drawn) + Number(stopped!.samples_saved)).toBe(32);
    expect(whole).toMatchObject({ k: 4, k_valid: 4 });
    expect(whole).not.toHaveProperty('stopped');
    const { out } = await cli.run(['inspect', String(stopped!.request_id)]);
    expect(out).toContain(`stopped: confident at error 0.02 after ${String(stopped!.k_drawn)} samples`);
    const wrong = await cli.run(['score', cli.file('rows.jsonl'), '--stop', 'none', '--stop-error', '0.1']);
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining('--stop-error')]);
  },
  180_000,
);

test.concurrent(
  'P1 P2 P3: a coordinator killed between waves: the other stops at the same sample, and none is drawn twice',
  async () => {
    await using cluster = await startCluster(
      {},
      { GRM_COORDINATOR__TAKEOVER_EVERY_MS: '500', GRM_COORDINATOR__WAVES: 'small' },
    );
    const [first, second] = await Promise.all([cluster.start('coordinator'), cluster.start('coordinator')]);
    const gate = closedGate(6);
    await using engine = await startEngineProxy(cluster.engine.url, gate.look);
    await cluster.start('grm-worker', enginesAt(engine.url));
    using doomed = clientOf(first, once);
    using client = clientOf(second);
    await cluster.serving(client, 1, 0);

    const stop = { stop: 'confident', stopError: 0.001 } as const;
    const call = settled(doomed.score(request('dies', stop), { deadlineMs: 90_000 }));
    // The first wave is there, the second is in hand.
    await until(() => cluster.engine.stats().done === 6 && gate.held() > 0, 'the second wave is begun');
    first.kill('SIGKILL');
    await first.ended;
    gate.open();
    await call;
    await until(async () => (await client.verdict('dies')) !== undefined, 'the other has finished it', 90_000);
    const taken = (await client.verdict('dies'))!.verdict;
    await quiet(client);
    const { kDrawn } = taken.stopping!;
    expect(kDrawn).toBeGreaterThanOrEqual(8);
    expect(taken.stopping).toMatchObject({ stopped: 'confident', samplesSaved: 32 - kDrawn });
    expect(taken.samples.map(({ sample }) => sample.index)).toEqual([...Array(kDrawn).keys()]);
    expect(cluster.engine.stats().requests).toBe(kDrawn);

    // The fake judge says the same of these responses every time: an undisturbed request stops at the same sample.
    const undisturbed = await client.score(request('lives', stop));
    expect(undisturbed.stopping).toEqual(taken.stopping);
  },
  180_000,
);
