// Streams that are full, and streams that somebody removes, under real processes.

import { jetstream, jetstreamManager, JetStreamApiError, type JetStreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { GrmError, ScoreRequest } from '../../src/rpc/client.js';
import {
  clientOf,
  enginesAt,
  metric,
  once,
  page,
  quiet,
  settled,
  startCluster,
  type TestCluster,
} from '../support/cluster.js';
import { closedGate, startEngineProxy } from '../support/engine-proxy.js';
import { until } from '../support/processes.js';

const minute = 60_000;
const k = 4;
const small = { GRM_NATS__STORAGE_BYTES_MAX: String(64 * 1024 * 1024) };
const quick = { deadlineMs: 10_000 } as const;

function request(name: string): ScoreRequest {
  return {
    query: `Which answer to ${name} is better?`,
    responses: [`An answer of quality=8 to ${name}.`, `Another, quality=3, to ${name}.`],
    idempotencyKey: name,
    k,
  };
}

const names = (what: string, count: number): string[] => Array.from({ length: count }, (_, at) => `${what}-${at}`);

async function operator({
  nats,
}: TestCluster): Promise<{ jsm: JetStreamManager; fill(): Promise<void> } & AsyncDisposable> {
  const nc = await connect({ servers: nats.url });
  const js = jetstream(nc);
  let at = 0;
  return {
    jsm: await jetstreamManager(nc),
    /** Until not even a small one finds room. */
    async fill() {
      let bytes = 256 * 1024;
      for (; bytes > 100; at += 1) {
        try {
          await js.publish(`grm.res.filler.${at}-0`, new Uint8Array(bytes));
        } catch (error) {
          if (!(error instanceof JetStreamApiError)) throw error;
          bytes = Math.floor(bytes / 2);
        }
      }
    },
    [Symbol.asyncDispose]: () => nc.close(),
  };
}

test(
  'P1 P4: a full results stream: new requests are shed with the reason, accepted ones are held until there is room: drawn once, none quarantined',
  async () => {
    await using cluster = await startCluster({}, { ...small, GRM_COORDINATOR__SWEEP_EVERY_MS: '1000' });
    const gate = closedGate(0);
    await using engine = await startEngineProxy(cluster.engine.url, gate.look);
    const coordinator = await cluster.start('coordinator');
    const worker = await cluster.start('grm-worker', enginesAt(engine.url));
    await cluster.start('meta-worker');
    using client = clientOf(coordinator);
    using hasty = clientOf(coordinator, once);
    await cluster.serving(client, 1, 1);
    const open = names('open', 6);
    const waiting = open.map((name) => settled(client.score(request(name), { deadlineMs: 3 * minute })));
    await until(() => gate.held() > 0, 'the engine is at them');
    await until(async () => (await client.status()).requestsInFlight === open.length, 'all are accepted');

    await using nats = await operator(cluster);
    await nats.fill();
    gate.open();
    // Room is made all the time: it is filled again until a look finds it full and a request comes before the next one.
    const filling = new AbortController();
    const filler = (async () => {
      for (; !filling.signal.aborted; await sleep(20)) await nats.fill();
    })();
    let tried = 0;
    let shed: unknown;
    await until(async () => {
      if ((await metric(coordinator, 'grm_stream_used_ratio', { stream: 'GRM_RES' })) < 0.9) return false;
      shed = await settled(hasty.score(request(`late-${tried++}`), { deadlineMs: 2_000 }));
      return (shed as GrmError).kind === 'overloaded';
    }, 'a new request is shed');
    filling.abort();
    await filler;
    expect((shed as GrmError).message).toContain('GRM_RES');
    expect((shed as GrmError).fault.retryAfterMs).toBeGreaterThan(0);
    expect(await metric(coordinator, 'grm_admission_rejected_total', { reason: 'storage' })).toBeGreaterThan(0);

    // What fills it is nobody's: the janitor removes it once it is old enough to be over.
    for (const verdict of await Promise.all(waiting)) {
      expect(verdict).toMatchObject({ kind: 'valid', kValid: k, best: 0, degraded: [] });
    }
    expect(await metric(worker, 'grm_results_held_total')).toBeGreaterThan(0);
    expect(await metric(worker, 'grm_redeliveries_total')).toBe(0);
    expect((await client.status()).dead).toBe(0);
    const again = await client.score(request(`late-${tried - 1}`), { deadlineMs: minute });
    expect(again).toMatchObject({ kind: 'valid', kValid: k });
    await quiet(client);
  },
  5 * minute,
);

test(
  'a results stream that stays full until the time is over: the verdict says so',
  async () => {
    await using cluster = await startCluster({}, small);
    const gate = closedGate(0);
    await using engine = await startEngineProxy(cluster.engine.url, gate.look);
    const coordinator = await cluster.start('coordinator');
    const worker = await cluster.start('grm-worker', enginesAt(engine.url));
    using client = clientOf(coordinator);
    await cluster.serving(client, 1, 0);
    const waiting = client.score({ ...request('lost'), timeBudgetMs: 9_000 }, { deadlineMs: minute });
    await until(() => gate.held() > 0, 'the engine is at it');
    await using nats = await operator(cluster);
    await nats.fill();
    gate.open();
    const verdict = await waiting;
    expect(verdict).toMatchObject({ kind: 'invalid', reason: 'quorum_not_met' });
    expect(verdict.degraded).toContain('storage_full');
    expect(await metric(coordinator, 'grm_verdict_degraded_total', { reason: 'storage_full' })).toBe(1);
    await until(
      async () => (await metric(worker, 'grm_deliveries_dropped_total', { why: 'unstored' })) > 0,
      'the worker says that it could not store them',
    );
    expect((await client.status()).dead).toBe(0);
  },
  5 * minute,
);

test(
  'P1: streams that somebody removes or empties are made anew, and what was accepted is finished',
  async () => {
    await using cluster = await startCluster({}, small);
    let gate = closedGate(0);
    await using engine = await startEngineProxy(cluster.engine.url, (body, path) => gate.look(body, path));
    const coordinator = await cluster.start('coordinator');
    const worker = await cluster.start('grm-worker', enginesAt(engine.url));
    await cluster.start('meta-worker');
    using client = clientOf(coordinator);
    await cluster.serving(client, 1, 1);
    await using nats = await operator(cluster);
    const removals: Readonly<Record<string, () => Promise<unknown>>> = {
      'no request': () => nats.jsm.streams.delete('GRM_REQ'),
      'no result': () => nats.jsm.streams.delete('GRM_RES'),
      'no verdict': () => nats.jsm.streams.delete('GRM_FIN'),
      'no work': () => nats.jsm.streams.delete('GRM_WORK'),
      'work emptied': () => nats.jsm.streams.purge('GRM_WORK'),
      'requests emptied': () => nats.jsm.streams.purge('GRM_REQ'),
      'no leases': () => nats.jsm.streams.delete('KV_GRM_CLUSTER'),
      'no templates': () => nats.jsm.streams.delete('KV_GRM_TEMPLATES'),
      'no consumer': () => nats.jsm.consumers.delete('GRM_WORK', 'grm-rl'),
    };
    for (const [what, remove] of Object.entries(removals)) {
      // More than the engine has slots: some are in the queue, some at the engine.
      const open = names(what.replace(' ', '-'), 8);
      gate = closedGate(0);
      const waiting = open.map((name) => settled(client.score(request(name), { deadlineMs: minute })));
      await until(async () => (await client.status()).requestsInFlight === open.length, 'all are accepted');
      await remove();
      expect((await client.status(quick)).natsVersion).not.toBe('');
      gate.open();
      for (const verdict of await Promise.all(waiting)) {
        expect(verdict, what).toMatchObject({ kind: 'valid', kValid: k, best: 0, degraded: [] });
      }
      await until(async () => (await page(coordinator, '/readyz')).status === 200, `${what}: ready again`);
    }
    expect(await metric(coordinator, 'grm_streams_lost_total')).toBeGreaterThanOrEqual(6);
    expect(await metric(worker, 'grm_dead_letters_total')).toBe(0);
    await quiet(client);
  },
  8 * minute,
);

test(
  'P4: a stream that cannot be made anew: nothing is accepted, readiness, status and metrics name it, and all goes on when it can',
  async () => {
    await using cluster = await startCluster({}, small, { jetstream: 'max_file_store: 64MB' });
    const coordinator = await cluster.start('coordinator');
    await cluster.start('grm-worker');
    using client = clientOf(coordinator);
    using hasty = clientOf(coordinator, once);
    await cluster.serving(client, 1, 0);
    await using nats = await operator(cluster);
    // Somebody else has the room before the coordinator does.
    await until(async () => {
      await nats.jsm.streams.delete('GRM_RES').catch(() => undefined);
      const taken = nats.jsm.streams.add({ name: 'SOMEBODY', subjects: ['somebody'], max_bytes: 12 * 1024 * 1024 });
      return taken.then(
        () => true,
        () => false,
      );
    }, 'somebody has the room');
    await until(async () => (await page(coordinator, '/readyz')).status !== 200, 'it is not ready');
    expect((await page(coordinator, '/readyz')).body).toContain('GRM_RES');
    const refused = await settled(hasty.score(request('refused'), quick));
    expect(refused).toMatchObject({ kind: 'queue_unavailable' });
    expect((refused as GrmError).message).toContain('GRM_RES');
    const { streams } = await client.status(quick);
    expect(streams.find(({ name }) => name === 'GRM_RES')?.trouble).toContain('GRM_RES');
    expect(await metric(coordinator, 'grm_stream_trouble', { stream: 'GRM_RES' })).toBe(1);
    await nats.jsm.streams.delete('SOMEBODY');
    expect(await client.score(request('refused'), { deadlineMs: minute })).toMatchObject({ kind: 'valid', kValid: k });
    expect((await page(coordinator, '/readyz')).status).toBe(200);
  },
  5 * minute,
);
