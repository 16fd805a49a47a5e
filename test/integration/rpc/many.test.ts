// scoreMany: any number of requests through the typed client, with streams that break.

import { afterEach, describe, expect, it } from 'vitest';
import { fault } from '../../../src/fault.js';
import type { ScoreOutcome } from '../../../src/coordinator/coordinator.js';
import { vote } from '../../../src/grm/vote.js';
import { limits } from '../../../src/limits.js';
import type { ManyResult, ScoreRequest, Trouble } from '../../../src/rpc/client.js';
import { deadlineMsOf } from '../../../src/rpc/score-request.js';
import { scored, voteInput } from '../../support/judgement.js';
import { failure, aRequest, RpcPeer, someStatus, until } from '../../support/rpc-peer.js';
import { scoreOf, ScriptedCoordinator, verdictFor } from '../../support/scripted-coordinator.js';

const open: RpcPeer[] = [];
afterEach(async () => {
  for (const peer of open.splice(0)) await peer[Symbol.asyncDispose]();
});

async function peerOf(...more: Parameters<typeof RpcPeer.open>): Promise<RpcPeer> {
  const peer = await RpcPeer.open(...more);
  open.push(peer);
  return peer;
}

interface Row extends ScoreRequest {
  readonly row: number;
}

function* rows(count: number): Generator<Row> {
  for (let row = 0; row < count; row++)
    yield { ...aRequest({ responses: ['x'.repeat(row % 10), ''] }), seed: row, row };
}

async function collect<R extends ScoreRequest>(results: AsyncIterable<ManyResult<R>>): Promise<ManyResult<R>[]> {
  const all: ManyResult<R>[] = [];
  for await (const result of results) all.push(result);
  return all;
}

function expectEachOnce(results: readonly ManyResult<Row>[], count: number): void {
  expect(results.map((result) => result.index).sort((a, b) => a - b)).toEqual(
    Array.from({ length: count }, (_, at) => at),
  );
  for (const result of results) {
    expect(result.request.row).toBe(result.index);
    if (result.kind !== 'verdict' || result.verdict.kind !== 'valid') throw new Error(JSON.stringify(result));
    expect(result.verdict.rewards[0]!.value).toBe(scoreOf(result.request.responses[0]!));
  }
}

describe('scoreMany', () => {
  it('M1: answers each of 600 requests once, with its own verdict', async () => {
    const peer = await peerOf();
    expectEachOnce(await collect(peer.client().scoreMany(rows(600))), 600);
    expect(peer.coordinator.calls).toHaveLength(600);
  });

  it('answers nothing for nothing', async () => {
    const peer = await peerOf();
    expect(await collect(peer.client().scoreMany([]))).toEqual([]);
  });

  it('M1: yields a wrong request as a fault and goes on', async () => {
    const peer = await peerOf();
    const requests = [aRequest(), aRequest({ responses: [] }), aRequest({ k: 0.5 }), aRequest({ seed: 2 })];
    const results = await collect(peer.client().scoreMany(requests));
    const kinds = results.sort((a, b) => a.index - b.index).map((result) => result.kind);
    expect(kinds).toEqual(['verdict', 'fault', 'fault', 'verdict']);
    const [, second, third] = results;
    expect(second).toMatchObject({ fault: { violations: [{ field: 'content.responses' }] } });
    expect(third).toMatchObject({ fault: { violations: [{ field: 'options.k' }] } });
  });

  it('M2: opens no more than `concurrency`, and reads no further ahead of its taker', async () => {
    const peer = await peerOf();
    let pulled = 0;
    async function* source() {
      for (const row of rows(100)) {
        pulled++;
        yield await Promise.resolve(row);
      }
    }
    const results = peer.client().scoreMany(source(), { concurrency: 7 });
    await results.next();
    await until(() => peer.coordinator.calls.length >= 7);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(pulled).toBeLessThanOrEqual(9);
    const rest = await collect(results);
    expect(rest).toHaveLength(99);
    expect(peer.coordinator.openMax).toBeLessThanOrEqual(7);
  });

  it('M3: a server that dies and comes back gets what is unanswered again, as the same requests (P2)', async () => {
    const first = await peerOf();
    const port = Number(first.server.address.split(':')[1]);
    const answered = new Set<string>();
    first.coordinator.script = (input, call) => {
      if (answered.size >= 100) return undefined;
      answered.add(call.requestId);
      return { kind: 'verdict', verdict: verdictFor(input) };
    };
    const client = first.client({ retries: { backoffMs: 20 } });
    const all = collect(client.scoreMany(rows(250), { concurrency: 50 }));
    await until(() => first.coordinator.open >= 50);
    const firstIds = first.coordinator.calls.map((call) => call.requestId);
    await first.server.close(0);
    const second = await peerOf({ listen: `127.0.0.1:${port}` });
    expectEachOnce(await all, 250);
    const secondIds = second.coordinator.calls.map((call) => call.requestId);
    const unanswered = firstIds.filter((id) => !answered.has(id));
    expect(secondIds).toEqual(expect.arrayContaining(unanswered));
    expect(new Set(secondIds).size).toBe(secondIds.length);
  });

  it('M3: a draining server ends the stream when its open items are answered, and the rest goes elsewhere (P6)', async () => {
    const first = await peerOf();
    const port = Number(first.server.address.split(':')[1]);
    first.coordinator.hold();
    const client = first.client({ retries: { backoffMs: 20 } });
    const all = collect(client.scoreMany(rows(40), { concurrency: 20 }));
    await until(() => first.coordinator.open === 20);
    const closed = first.server.close(10_000);
    for (const call of first.coordinator.calls) call.verdict();
    await closed;
    expect(first.coordinator.gone).toBe(0);
    const second = await peerOf({ listen: `127.0.0.1:${port}` });
    expectEachOnce(await all, 40);
    const answeredByFirst = first.coordinator.calls.map((call) => call.requestId);
    expect(second.coordinator.calls.some((call) => answeredByFirst.includes(call.requestId))).toBe(false);
  });

  it('M4: sends shed requests again after their delay', async () => {
    const peer = await peerOf();
    const tries = new Map<string, number>();
    peer.coordinator.script = (input, call) => {
      const tried = tries.get(call.requestId) ?? 0;
      tries.set(call.requestId, tried + 1);
      return tried < 3
        ? { kind: 'fault', fault: fault('overloaded', 'full', { retryAfterMs: 5 }) }
        : { kind: 'verdict', verdict: verdictFor(input) };
    };
    const client = peer.client({ retries: { triesMax: 2, backoffMs: 2 } });
    expectEachOnce(await collect(client.scoreMany(rows(60))), 60);
    expect([...tries.values()]).toEqual(Array(60).fill(4));
  });

  it('M4: a request has its own deadline', async () => {
    const peer = await peerOf();
    peer.coordinator.script = (input) =>
      input.content.responses[0] === '' ? undefined : { kind: 'verdict', verdict: verdictFor(input) };
    const results = await collect(peer.client().scoreMany(rows(20), { deadlineMs: 4_000 }));
    const late = results.filter((result) => result.kind === 'fault');
    expect(late.map((result) => [result.index, result.fault.kind])).toEqual([
      [0, 'deadline_exceeded'],
      [10, 'deadline_exceeded'],
    ]);
    expect(results).toHaveLength(20);
  });

  it('M5: throws when nobody is there after all tries', async () => {
    const peer = await peerOf();
    const client = peer.client({ address: '127.0.0.1:1', retries: { triesMax: 2, backoffMs: 5 } });
    expect((await failure(collect(client.scoreMany(rows(3))))).kind).toBe('unreachable');
  });

  it('M5: a server that is lost for good is told at once, and ends it when its tries are over', async () => {
    const peer = await peerOf();
    peer.coordinator.hold();
    const client = peer.client({ retries: { triesMax: 5, backoffMs: 50, backoffMsMax: 400 } });
    const troubles: Trouble[] = [];
    const all = failure(collect(client.scoreMany(rows(3), { onTrouble: (trouble) => troubles.push(trouble) })));
    await until(() => peer.coordinator.open === 3);
    await peer.server.close(0);
    expect((await all).kind).toBe('unreachable');
    expect(troubles).toMatchObject([{ kind: 'away', leftMs: expect.any(Number) as number }]);
    const [first] = troubles;
    // 50 + 100 + 200 + 400.
    expect(first?.kind === 'away' && first.leftMs).toBeGreaterThan(0);
    expect(first?.kind === 'away' && first.leftMs).toBeLessThanOrEqual(750);
  });

  it('M3: a server that comes back is told, once', async () => {
    const first = await peerOf();
    const port = Number(first.server.address.split(':')[1]);
    first.coordinator.hold();
    const troubles: string[] = [];
    const client = first.client({ retries: { backoffMs: 20 } });
    const all = collect(client.scoreMany(rows(3), { onTrouble: ({ kind }) => troubles.push(kind) }));
    await until(() => first.coordinator.open === 3);
    await first.server.close(0);
    await until(() => troubles.length > 0);
    await peerOf({ listen: `127.0.0.1:${port}` });
    expectEachOnce(await all, 3);
    // A machine that is long away with its answer may be told of it more than once.
    expect(troubles.at(-1)).toBe('back');
    expect(new Set(troubles.slice(0, -1))).toEqual(new Set(['away']));
  });

  it('M5: throws when the caller is refused', async () => {
    const peer = await peerOf({ tokens: [{ name: 't', token: 'secret' }] });
    const error = await failure(collect(peer.client({ token: 'wrong' }).scoreMany(rows(3))));
    expect(error.kind).toBe('unauthenticated');
  });

  it("M5: throws the source's own error, and cancels what is open", async () => {
    const peer = await peerOf();
    peer.coordinator.hold();
    const broken = new Error('file not readable');
    async function* source() {
      yield* rows(5);
      await until(() => peer.coordinator.open === 5);
      throw broken;
    }
    await expect(collect(peer.client().scoreMany(source()))).rejects.toBe(broken);
    await until(() => peer.coordinator.gone === 5);
  });

  it('leaving the loop closes the source and cancels what is open', async () => {
    const peer = await peerOf();
    const { script } = new ScriptedCoordinator();
    peer.coordinator.script = (input, call) => (input.options.seed === 0 ? script(input, call) : undefined);
    let closed = false;
    function* source() {
      try {
        yield* rows(100);
      } finally {
        closed = true;
      }
    }
    for await (const result of peer.client().scoreMany(source(), { concurrency: 10 })) {
      expect(result.index).toBe(0);
      await until(() => peer.coordinator.open >= 9);
      break;
    }
    expect(closed).toBe(true);
    await until(() => peer.coordinator.open === 0);
    expect(peer.coordinator.gone).toBeGreaterThanOrEqual(9);
  });

  it('an abort throws and cancels what is open', async () => {
    const peer = await peerOf();
    peer.coordinator.hold();
    const controller = new AbortController();
    const all = failure(collect(peer.client().scoreMany(rows(10), { signal: controller.signal })));
    await until(() => peer.coordinator.open === 10);
    controller.abort();
    expect((await all).kind).toBe('cancelled');
    await until(() => peer.coordinator.gone === 10);
  });
});

describe('scoreMany, patient', () => {
  /** What a coordinator answers when time ended with so many of four samples there. */
  function cutShort(samples: number): Extract<ScoreOutcome, { kind: 'verdict' }> {
    const drawn = Array.from({ length: samples }, (_, index) => scored(index, [9, 2]));
    const missing = { notAsked: 0, waiting: 0, unfinished: 4 - samples };
    return { kind: 'verdict', verdict: vote(voteInput({ samples: drawn, expired: true, missing })) };
  }

  it('M6: asks again what only time ended, as the same request, with twice the time', async () => {
    const peer = await peerOf();
    const budgets: (number | undefined)[] = [];
    const ids = new Set<string>();
    peer.coordinator.script = (input, call) => {
      ids.add(call.requestId);
      budgets.push(input.options.timeBudgetMs);
      return budgets.length < 4 ? cutShort(1) : { kind: 'verdict', verdict: verdictFor(input) };
    };
    const requests = [{ ...aRequest(), k: 4, timeBudgetMs: 1_000 }];
    const [only] = await collect(peer.client().scoreMany(requests, { patient: true }));
    expect(only).toMatchObject({ kind: 'verdict', verdict: { kind: 'valid' } });
    expect(budgets).toEqual([1_000, 2_000, 4_000, 8_000]);
    expect(ids.size).toBe(1);
  });

  it('M6: a request that names no time has all there is', async () => {
    const peer = await peerOf();
    await collect(peer.client().scoreMany([aRequest()], { patient: true }));
    expect(peer.coordinator.calls[0]!.input.options.timeBudgetMs).toBe(limits.timeBudgetMsMax);
  });

  it('M6: what the judge said, or somebody cancelled, is final, and so are the tries', async () => {
    const peer = await peerOf();
    peer.coordinator.script = (input) => {
      if (input.options.seed === 1) return { kind: 'fault', fault: fault('cancelled', 'by an operator') };
      return input.options.seed === 2 ? cutShort(1) : { kind: 'verdict', verdict: vote(voteInput({ samples: [] })) };
    };
    const requests = [0, 1, 2].map((seed) => ({ ...aRequest(), seed }));
    const results = await collect(peer.client().scoreMany(requests, { patient: true }));
    const bySeed = results.sort((a, b) => a.index - b.index);
    expect(bySeed).toMatchObject([
      { verdict: { reason: 'no_valid_sample' } },
      { fault: { kind: 'cancelled' } },
      { verdict: { reason: 'quorum_not_met' } },
    ]);
    const asked = [0, 1, 2].map(
      (seed) => peer.coordinator.calls.filter(({ input }) => input.options.seed === seed).length,
    );
    expect(asked).toEqual([1, 1, limits.againTriesMax]);
  });

  it('M6: without it a verdict that time cut short is given as it is', async () => {
    const peer = await peerOf();
    peer.coordinator.script = () => cutShort(1);
    const [only] = await collect(peer.client().scoreMany([aRequest()]));
    expect(only).toMatchObject({ kind: 'verdict', verdict: { kind: 'invalid' } });
    expect(peer.coordinator.calls).toHaveLength(1);
  });

  it('M6: opens no more than the slots take up soon', async () => {
    const peer = await peerOf();
    peer.coordinator.hold();
    const all = collect(peer.client().scoreMany(rowsOfK(300, 8), { patient: true }));
    // 16 slots (someStatus): twice over they take up four requests, and one more; eight are open before that is known.
    await until(() => peer.coordinator.open >= 5);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(peer.coordinator.openMax).toBeLessThanOrEqual(8);
    const { script } = new ScriptedCoordinator();
    peer.coordinator.script = script;
    for (const call of peer.coordinator.calls) call.verdict();
    expect(await all).toHaveLength(300);
  });

  it('M6: holds back while no engine serves, tells so, and goes on when one does', async () => {
    const peer = await peerOf();
    peer.cluster.now = { ...someStatus, nodes: [] };
    peer.coordinator.hold();
    const troubles: Trouble[] = [];
    const all = collect(
      peer.client().scoreMany(rowsOfK(100, 8), { patient: true, onTrouble: (trouble) => troubles.push(trouble) }),
    );
    await until(() => troubles.length > 0);
    expect(troubles[0]).toMatchObject({ kind: 'away', fault: { kind: 'no_engine' } });
    await new Promise((resolve) => setTimeout(resolve, 300));
    const held = [...peer.coordinator.calls];
    expect(held.length).toBeLessThanOrEqual(8);
    // Time ends those that were sent before it was known: they are held back, too, and spend no try.
    for (const call of held) call.verdict(cutShort(0).verdict);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(peer.coordinator.calls).toHaveLength(held.length);
    peer.coordinator.script = new ScriptedCoordinator().script;
    peer.cluster.now = someStatus;
    expect((await all).filter(({ kind }) => kind === 'verdict')).toHaveLength(100);
    expect(peer.coordinator.calls).toHaveLength(100 + held.length);
    expect(troubles.at(-1)).toMatchObject({ kind: 'back', fault: { kind: 'no_engine' } });
  });

  it('M6: a token that may not ask for the cluster scores all the same', async () => {
    const peer = await peerOf({ tokens: [{ name: 't', token: 'secret', tenants: ['a'] }] });
    const results = await collect(peer.client({ token: 'secret' }).scoreMany(rows(300), { patient: true }));
    expectEachOnce(results, 300);
  });
});

function rowsOfK(count: number, k: number): ScoreRequest[] {
  return Array.from({ length: count }, (_, seed) => ({ ...aRequest(), seed, k }));
}

describe('how long an answer is waited for', () => {
  it("a request's own time is never cut by the default", () => {
    expect(deadlineMsOf({})).toBe(600_000);
    expect(deadlineMsOf({ timeBudgetMs: 60_000 })).toBe(600_000);
    expect(deadlineMsOf({ timeBudgetMs: 3_600_000 })).toBe(3_610_000);
  });
});
