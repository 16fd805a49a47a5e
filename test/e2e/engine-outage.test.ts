// Engines that are up and do not work: a wrong key, a gateway without its server. Nothing of a request is lost to them.

import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { locateLlama } from '../../src/engine/llama-runtime.js';
import type { ScoreRequest } from '../../src/rpc/client.js';
import { ActorState } from '../../src/wire/gen/grm/v1/cluster.js';
import { clientOf, enginesAt, metric, page, quiet, startCluster } from '../support/cluster.js';
import { writeTinyGguf } from '../support/gguf.js';
import { until } from '../support/processes.js';

const k = 8;

function request(name: string, more: Partial<ScoreRequest> = {}): ScoreRequest {
  return {
    query: `Which answer to ${name} is better?`,
    responses: [`An answer of quality=9 to ${name}.`, `Another, quality=2, to ${name}.`],
    idempotencyKey: name,
    k,
    ...more,
  };
}

interface Gateway extends AsyncDisposable {
  readonly url: string;
  /** Generations and meta calls answered by the gateway itself. */
  refused(): number;
  /** What it answers to them from now on; undefined: it passes them on. Health and models are always passed on. */
  answer(how: { readonly status: number; readonly body?: string } | undefined): void;
}

/** In front of an engine, as a reverse proxy that checks keys or has lost its server. */
async function startGateway(target: string): Promise<Gateway> {
  let refused = 0;
  let how: { readonly status: number; readonly body?: string } | undefined;
  const server: Server = createServer((req, res) => {
    const serve = async (): Promise<void> => {
      const parts: Buffer[] = [];
      for await (const part of req as AsyncIterable<Buffer>) parts.push(part);
      const isWork = req.method === 'POST';
      if (isWork && how !== undefined) {
        refused += 1;
        res.writeHead(how.status, { 'content-type': 'text/html' }).end(how.body ?? '');
        return;
      }
      const passed = await fetch(target + (req.url ?? ''), {
        method: req.method ?? 'GET',
        headers: { 'content-type': 'application/json' },
        ...(isWork && { body: Buffer.concat(parts) }),
      });
      res.writeHead(passed.status, { 'content-type': passed.headers.get('content-type') ?? 'text/plain' });
      res.end(Buffer.from(await passed.arrayBuffer()));
    };
    serve().catch(() => res.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    refused: () => refused,
    answer: (next) => void (how = next),
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

test('P1: one of four workers with a wrong key costs no request a sample, and it draws no more of the work', async () => {
  await using cluster = await startCluster();
  await using gateway = await startGateway(cluster.engine.url);
  gateway.answer({ status: 401 });
  const coordinator = await cluster.start('coordinator');
  const wrong = await cluster.start('grm-worker', enginesAt(gateway.url));
  for (let number = 0; number < 3; number++) await cluster.start('grm-worker');
  using client = clientOf(coordinator);
  await cluster.serving(client, 4, 0);

  const requests = Array.from({ length: 100 }, (_, number) => request(`key-${number}`));
  let valid = 0;
  for await (const result of client.scoreMany(requests, { concurrency: 50, deadlineMs: 120_000 })) {
    if (result.kind === 'fault') throw new Error(`${result.fault.kind}: ${result.fault.message}`);
    expect(result.verdict).toMatchObject({ kind: 'valid', best: 0, kValid: k, degraded: [] });
    valid += 1;
  }
  expect(valid).toBe(100);
  // What it had in its slots when it heard the first 401, and probes.
  expect(gateway.refused()).toBeLessThan(64);
  await quiet(client);
  expect((await client.status()).dead).toBe(0);

  // As an operator sees it.
  const { nodes } = await client.status();
  const actor = nodes.find(({ id }) => id === wrong.node)?.actors[0];
  expect(actor).toMatchObject({ state: ActorState.OUT_OF_SERVICE });
  expect(actor?.stateReason).toContain('HTTP 401');
  const ready = await page(wrong, '/readyz');
  expect([ready.status, ready.body]).toEqual([503, expect.stringContaining('HTTP 401')]);
  expect(await metric(wrong, 'grm_engine_in_service', { engine: 'openai-0' })).toBe(0);
  expect(await metric(wrong, 'grm_engine_out_of_service_total', { cause: 'refused' })).toBe(1);

  // Mended, it serves by itself.
  gateway.answer(undefined);
  await cluster.serving(client, 4, 0);
  expect((await page(wrong, '/readyz')).status).toBe(200);
}, 240_000);

test('P1 P5: twelve seconds of a gateway’s own answers, to samples and to the meta RM, cost no request of a 60 s budget anything', async () => {
  await using cluster = await startCluster();
  await using gateway = await startGateway(cluster.engine.url);
  const coordinator = await cluster.start('coordinator');
  for (let number = 0; number < 2; number++) await cluster.start('grm-worker', enginesAt(gateway.url));
  await cluster.start('meta-worker', {
    GRM_META__ENGINES: JSON.stringify([{ kind: 'vllm_classify', base_url: gateway.url, slots: 16 }]),
  });
  using client = clientOf(coordinator);
  await cluster.serving(client, 2, 1);

  const answers = [
    { status: 502, body: '<html>502 Bad Gateway</html>' },
    { status: 500, body: 'oops' },
    { status: 404, body: 'no route' },
    { status: 529, body: 'overloaded' },
    { status: 200, body: '<html>Please sign in</html>' },
    { status: 408 },
    { status: 400, body: 'not while we deploy' },
    { status: 504 },
  ];
  gateway.answer(answers[0]);
  const verdicts = Array.from({ length: 24 }, (_, number) =>
    client.score(request(`gateway-${number}`, { timeBudgetMs: 60_000, vote: 'meta_topk' })),
  );
  for (const answer of answers) {
    gateway.answer(answer);
    await sleep(1_500);
  }
  gateway.answer(undefined);
  for (const verdict of await Promise.all(verdicts)) {
    expect(verdict).toMatchObject({ kind: 'valid', best: 0, kValid: k });
    expect(verdict.degraded).not.toContain('samples_invalid');
    expect(verdict.degraded).not.toContain('time_budget');
  }
  // Two workers of 16 slots, a meta worker, and what probes them.
  expect(gateway.refused()).toBeLessThan(120);
  await quiet(client);
  expect((await client.status()).dead).toBe(0);
}, 240_000);

test('P1 P7: while every engine refuses, requests end at their time with the reason and are not stored; once the key is mended the same request is answered', async () => {
  await using cluster = await startCluster();
  await using gateway = await startGateway(cluster.engine.url);
  gateway.answer({ status: 401 });
  const coordinator = await cluster.start('coordinator');
  for (let number = 0; number < 2; number++) await cluster.start('grm-worker', enginesAt(gateway.url));
  using client = clientOf(coordinator);
  await cluster.serving(client, 2, 0);

  const verdicts = await Promise.all(
    [0, 1, 2, 3, 4, 5].map((number) => client.score(request(`all-${number}`, { timeBudgetMs: 8_000 }))),
  );
  for (const verdict of verdicts) {
    expect(verdict).toMatchObject({
      kind: 'invalid',
      reason: 'quorum_not_met',
      degraded: ['time_budget'],
      samples: [],
    });
    expect(verdict.missing?.why).toMatch(/no engine serves: .*HTTP 401/);
  }
  expect(await client.verdict('all-0')).toBeUndefined();
  await until(async () => (await client.listDead()).length === 0, 'nothing is quarantined');

  gateway.answer(undefined);
  await cluster.serving(client, 2, 0);
  for (let number = 0; number < 6; number++) {
    expect(await client.score(request(`all-${number}`, { timeBudgetMs: 60_000 }))).toMatchObject({
      kind: 'valid',
      best: 0,
      kValid: k,
      degraded: [],
    });
  }
  await quiet(client);
}, 240_000);

test('a model file that is cut short ends its engine for good, and status says why', async () => {
  await using cluster = await startCluster();
  const folder = mkdtempSync(join(tmpdir(), 'grm-cut-'));
  try {
    const model = join(folder, 'cut.gguf');
    writeTinyGguf(model, { seed: 1, contextTokens: 64 });
    truncateSync(model, 200_000);
    const coordinator = await cluster.start('coordinator');
    const kinds = [{ kind: 'managed', model, command: ['/bin/true', '{model}', '{port}'], log_dir: folder }];
    const llama = locateLlama(undefined).kind === 'found' ? [{ kind: 'llama', model }] : [];
    const worker = await cluster.start('grm-worker', { GRM_WORKER__ENGINES: JSON.stringify([...kinds, ...llama]) });
    using client = clientOf(coordinator);
    const actors = async () => (await client.status()).nodes.find(({ id }) => id === worker.node)?.actors ?? [];
    await until(
      async () =>
        (await actors()).filter(({ state }) => state === ActorState.DEAD).length === kinds.length + llama.length,
      'the engines are given up',
    );
    for (const { stateReason, restarts } of await actors()) {
      expect(stateReason).toContain('cut short');
      expect(restarts).toBe(0);
    }
    expect((await page(worker, '/readyz')).body).toContain('cut short');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);
