// A client takes the scores of one judge: over real gRPC, with a coordinator whose judge the test changes.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { fault } from '../../../src/fault.js';
import { judgeWords, unknownJudgeId, type Judge } from '../../../src/grm/judge.js';
import type { GrmClient, ManyResult } from '../../../src/rpc/client.js';
import { aJudge } from '../../support/judgement.js';
import { aRequest, RpcPeer } from '../../support/rpc-peer.js';
import { verdictFor } from '../../support/scripted-coordinator.js';

const other: Judge = { ...aJudge, id: '9999999999999999', models: [{ id: 'x', model: 'other-judge' }] };
let peer: RpcPeer;
let judge: Judge | undefined;
beforeAll(async () => void (peer = await RpcPeer.open()));
afterAll(() => peer[Symbol.asyncDispose]());
beforeEach(() => {
  judge = aJudge;
  peer.coordinator.calls.length = 0;
  peer.coordinator.script = (input) => {
    if (judge && input.expectedJudge !== undefined && input.expectedJudge !== judge.id)
      return { kind: 'fault', fault: fault('judge_changed', `the judge was [${input.expectedJudge}], and now: x`) };
    return { kind: 'verdict', verdict: { ...verdictFor(input), ...(judge && { judge }) } };
  };
});
const asked = () => peer.coordinator.calls.map(({ input }) => input.expectedJudge);

const ways: Readonly<Record<string, (client: GrmClient) => Promise<unknown>>> = {
  score: (client) => client.score(aRequest()),
  watch: async (client) => {
    for await (const event of client.watch(aRequest())) if (event.kind === 'verdict') return event.verdict;
    return undefined;
  },
  scoreMany: async (client) => {
    for await (const result of client.scoreMany([aRequest()])) {
      if (result.kind === 'fault') throw Object.assign(new Error(result.fault.message), { kind: result.fault.kind });
      return result.verdict;
    }
    return undefined;
  },
};

test.each(Object.entries(ways))(
  'J2: %s asks for the judge of the first verdict, and a change names both',
  async (_name, call) => {
    const client = peer.client();
    await call(client);
    await call(client);
    expect(asked()).toEqual([undefined, aJudge.id]);
    judge = other;
    const refused = call(client);
    await expect(refused).rejects.toMatchObject({ kind: 'judge_changed' });
    await expect(refused).rejects.toThrow(judgeWords(aJudge));
  },
);

test.each(Object.entries(ways))(
  'J2: %s refuses a verdict of another judge, also of a service that does not look',
  async (_name, call) => {
    const client = peer.client();
    await call(client);
    peer.coordinator.script = (input) => ({ kind: 'verdict', verdict: { ...verdictFor(input), judge: other } });
    const refused = call(client);
    await expect(refused).rejects.toMatchObject({ kind: 'judge_changed' });
    for (const each of [aJudge, other]) await expect(refused).rejects.toThrow(judgeWords(each));
  },
);

test('who allows the change gets what judges now: for a request, or for a client', async () => {
  const client = peer.client();
  await client.score(aRequest());
  judge = other;
  expect((await client.score(aRequest({ allowJudgeChange: true }))).judge).toEqual(other);
  await expect(client.score(aRequest())).rejects.toMatchObject({ kind: 'judge_changed' });
  const free = peer.client({ allowJudgeChange: true });
  for (const each of [aJudge, other]) {
    judge = each;
    expect((await free.score(aRequest())).judge).toEqual(each);
  }
});

test('J1: another template, vote or use of the meta RM is pinned by itself', async () => {
  const client = peer.client();
  for (const options of [{}, { template: 'paper' }, { vote: 'sum' }, { meta: true }, { k: 1 }] as const) {
    judge = { ...aJudge, id: JSON.stringify(options).replace(/\W/g, '-') };
    await client.score(aRequest(options));
    await client.score(aRequest(options));
    expect(asked().slice(-2)).toEqual([undefined, judge.id]);
  }
});

test('nothing is pinned of a judge that nobody knows, and a request may name one itself', async () => {
  const client = peer.client();
  for (const each of [undefined, { ...aJudge, id: unknownJudgeId, models: [] }]) {
    judge = each;
    peer.coordinator.calls.length = 0;
    await client.score(aRequest());
    await client.score(aRequest());
    expect(asked()).toEqual([undefined, undefined]);
  }
  judge = other;
  peer.coordinator.calls.length = 0;
  await client.score(aRequest({ expectedJudge: other.id, fresh: 'run-1' }));
  expect(peer.coordinator.calls[0]!.input).toMatchObject({ expectedJudge: other.id, fresh: 'run-1' });
});

test('many requests that are open before the first verdict: those of the first judge are answered, those of another refused', async () => {
  peer.coordinator.script = (input) => ({
    kind: 'verdict',
    verdict: { ...verdictFor(input), judge: (input.options.seed ?? 0) < 5 ? aJudge : other },
  });
  const results: ManyResult[] = [];
  const requests = Array.from({ length: 8 }, (_, seed) => aRequest({ seed }));
  for await (const result of peer.client().scoreMany(requests)) results.push(result);
  const kinds = results
    .sort((a, b) => a.index - b.index)
    .map((each) => (each.kind === 'fault' ? each.fault.kind : each.verdict.judge?.id));
  const first = kinds[0] === aJudge.id ? [aJudge.id, 'judge_changed'] : ['judge_changed', other.id];
  expect(kinds).toEqual(kinds.map((_, at) => first[at < 5 ? 0 : 1]));
});

test('what judges is told without a request; wrong options are told like those of one', async () => {
  const client = peer.client();
  expect(await client.judge({ template: 'paper' })).toEqual(aJudge);
  await expect(client.judge({ template: 'none' })).rejects.toMatchObject({
    kind: 'invalid_request',
    violations: [{ field: 'options.template' }],
  });
  expect(peer.coordinator.calls).toEqual([]);
});

test('a word that cannot stand in a name is refused with its field', async () => {
  for (const [field, more] of [
    ['fresh', { fresh: 'two words' }],
    ['expected_judge', { expectedJudge: 'a/b' }],
  ] as const) {
    await expect(peer.client().score(aRequest(more))).rejects.toMatchObject({ violations: [{ field }] });
  }
});

test('stored and judge come with a stored verdict, and with every detail', async () => {
  const client = peer.client();
  const { requestId } = await client.score(aRequest({ detail: 'rewards' }));
  expect((await client.verdict(requestId))?.verdict.judge).toEqual(aJudge);
  peer.coordinator.script = (input) => ({
    kind: 'verdict',
    verdict: { ...verdictFor(input), judge: aJudge, stored: true },
  });
  for (const detail of ['rewards', 'scores', 'full'] as const) {
    expect(await client.score(aRequest({ detail }))).toMatchObject({ stored: true, judge: aJudge });
  }
});
