// Score, deadlines and retries: a real server and client over a real socket, a scripted coordinator behind them.

import { credentials, Metadata } from '@grpc/grpc-js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fault } from '../../../src/fault.js';
import { limits } from '../../../src/limits.js';
import type { GrmClient } from '../../../src/rpc/client.js';
import { callOnce } from '../../../src/rpc/channel.js';
import { RewardServiceClient, type ScoreRequest as WireRequest } from '../../../src/wire/gen/grm/v1/reward.js';
import { failure, aRequest, RpcPeer, until } from '../../support/rpc-peer.js';
import { ScriptedCoordinator, verdictFor } from '../../support/scripted-coordinator.js';

let peer: RpcPeer;
let client: GrmClient;
let coordinator: ScriptedCoordinator;

beforeAll(async () => {
  peer = await RpcPeer.open();
  client = peer.client({ tenant: 'team-a', retries: { triesMax: 3, backoffMs: 5 } });
  coordinator = peer.coordinator;
});
afterAll(() => peer[Symbol.asyncDispose]());
beforeEach(() => {
  coordinator.script = new ScriptedCoordinator().script;
  coordinator.calls.length = 0;
  coordinator.gone = 0;
});

describe('Score', () => {
  it('brings the whole request to the coordinator and the whole verdict back', async () => {
    const verdict = await client.score({
      query: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Why? Zażółć 🧮' },
      ],
      responses: ['Rayleigh', '', 'Paint.'],
      reference: 'Rayleigh',
      principles: ['Honest', { text: 'Brief', weightPercent: 30 }],
      idempotencyKey: 'step-7',
      class: 'interactive',
      k: 4,
      kMeta: 2,
      vote: 'meta_topk',
      temperature: 0,
      topP: 0.5,
      maxTokens: 100,
      quorum: 3,
      timeBudgetMs: 5_000,
      seed: 4_294_967_295,
      template: 'paper',
      meta: true,
      stop: 'confident',
      stopError: 0.02,
    });
    const [call] = coordinator.calls;
    expect(call!.input).toEqual({
      idempotencyKey: 'step-7',
      tenant: 'team-a',
      class: 'interactive',
      content: {
        messages: [
          { role: 'system', content: 'Be brief.' },
          { role: 'user', content: 'Why? Zażółć 🧮' },
        ],
        responses: ['Rayleigh', '', 'Paint.'],
        reference: 'Rayleigh',
        principles: [{ text: 'Honest' }, { text: 'Brief', weightPercent: 30 }],
      },
      contentBytes: 9 + 20 + 8 + 6 + 8 + 6 + 5,
      options: {
        k: 4,
        kMeta: 2,
        vote: 'meta_topk',
        temperature: 0,
        topP: 0.5,
        maxTokens: 100,
        quorum: 3,
        timeBudgetMs: 5_000,
        seed: 4_294_967_295,
        template: 'paper',
        meta: true,
        stop: 'confident',
        stopError: 0.02,
      },
    });
    expect(verdict).toEqual(verdictFor(call!.input));
  });

  it('brings an invalid verdict back as one, with its reason and no number (P7)', async () => {
    coordinator.script = (input) => {
      const { rewards: _1, ranking: _2, best: _3, tie: _4, margin: _5, agreement: _6, ...base } = validVerdict(input);
      return { kind: 'verdict', verdict: { ...base, kind: 'invalid', reason: 'quorum_not_met' } };
    };
    const verdict = await client.score(aRequest());
    expect(verdict).toMatchObject({ kind: 'invalid', reason: 'quorum_not_met', responses: 2 });
    expect(verdict).not.toHaveProperty('rewards');
  });

  it('sends as much detail as was asked for', async () => {
    coordinator.script = (input) => ({ kind: 'verdict', verdict: verdictFor(input, 'a long critique') });
    const [full, scores, rewards] = await Promise.all(
      (['full', 'scores', 'rewards'] as const).map((detail) => client.score(aRequest({ k: 3, detail }))),
    );
    expect(full!.samples.map(({ sample }) => sample.text)).toEqual(Array(3).fill('a long critique'));
    expect(scores!.samples.map(({ sample }) => sample.text)).toEqual(['', '', '']);
    expect(rewards!.samples).toEqual([]);
    expect(rewards!.kKept).toBe(3);
  });

  it('a request that is wrong everywhere is told every violation at once', async () => {
    using raw = rawClient();
    const error = await failure(raw.score(everythingWrong));
    expect(error.kind).toBe('invalid_request');
    expect(error.violations.map((violation) => violation.field).sort()).toEqual([
      'class',
      'content.principles[0].text',
      'content.principles[0].weight_percent',
      'content.query.messages[0].role',
      'content.query.messages[1].role',
      'content.responses',
      'detail',
      'idempotency_key',
      'options.k',
      'options.k_meta',
      'options.max_tokens',
      'options.quorum',
      'options.stop',
      'options.stop_error',
      'options.temperature',
      'options.template',
      'options.time_budget_ms',
      'options.top_p',
      'options.vote',
      'tenant',
    ]);
    expect(error.violations.find(({ field }) => field === 'options.k')!.description).toBe(
      'came 4294967295, expected a whole number 1..128',
    );
    expect(coordinator.calls).toHaveLength(0);
  });

  it('a well-formed template name that is not loaded is told beside all else', async () => {
    using raw = rawClient();
    const options = { ...everythingWrong.options!, template: 'elsewhere' };
    const error = await failure(raw.score({ ...everythingWrong, options }));
    expect(error.violations.map(({ field }) => field)).toEqual(
      expect.arrayContaining(['options.k', 'options.template', 'tenant']),
    );
    expect(error.violations.find(({ field }) => field === 'options.template')!.description).toBe(
      'came "elsewhere", expected a loaded template: default, paper',
    );
  });

  it('what no message can hold is told by the client, with all other violations', async () => {
    const error = await failure(client.score(aRequest({ k: -1, seed: 0.5, temperature: 9 })));
    expect(error.violations.map((violation) => violation.field)).toEqual([
      'options.k',
      'options.temperature',
      'options.seed',
    ]);
  });

  it('an empty message is told that it holds nothing', async () => {
    using raw = rawClient();
    expect((await failure(raw.score({ ...everythingWrong, ...nothing }))).violations.map(({ field }) => field)).toEqual(
      ['content'],
    );
  });

  it('takes a content of 8 MB', async () => {
    const responses = ['x'.repeat(limits.contentBytesMax - 20), ''];
    const verdict = await client.score(aRequest({ responses }));
    expect(verdict.kind).toBe('valid');
    expect(coordinator.calls[0]!.input.contentBytes).toBe(limits.contentBytesMax);
  });

  it('refuses a content above 8 MB with what came and what is allowed', async () => {
    const error = await failure(client.score(aRequest({ responses: ['x'.repeat(9_000_000)] })));
    expect(error.kind).toBe('invalid_request');
    expect(error.violations[0]!.description).toContain('9000020 bytes of text, expected at most 8388608');
  });

  it('refuses a message of 13 MB at either side, clearly and without a retry', async () => {
    const request = aRequest({ responses: ['x'.repeat(13_000_000)] });
    const ours = await failure(client.score(request));
    expect(ours.kind).toBe('invalid_request');
    expect(ours.message).toMatch(/larger than.*12582912/);

    using raw = rawClient({ 'grpc.max_send_message_length': -1 });
    const theirs = await failure(raw.score({ ...everythingWrong, tenant: 'x'.repeat(13_000_000) }));
    expect(theirs.kind).toBe('invalid_request');
    expect(theirs.message).toMatch(/larger than.*12582912/);
    expect(coordinator.calls).toHaveLength(0);
  });

  it('a verdict that fits no message comes without its texts', async () => {
    coordinator.script = (input) => ({ kind: 'verdict', verdict: verdictFor(input, 'x'.repeat(1_000_000)) });
    const verdict = await client.score(aRequest({ k: 14 }));
    expect(verdict.samples).toHaveLength(14);
    expect(verdict.samples.every(({ sample }) => sample.text === '')).toBe(true);
  });

  it('answers a bug behind the door with internal, tells the log, and serves on', async () => {
    const bug = new TypeError('cannot read properties of undefined');
    coordinator.script = () => {
      throw bug;
    };
    const error = await failure(client.score(aRequest()));
    expect([error.kind, error.message]).toEqual(['internal', 'internal error']);
    expect(peer.troubles).toContain(bug);
  });
});

describe('deadlines and cancellation', () => {
  it('the caller deadline reaches the coordinator and ends the call', async () => {
    coordinator.hold();
    const before = Date.now();
    const error = await failure(client.score(aRequest(), { deadlineMs: 2_000 }));
    expect(error.kind).toBe('deadline_exceeded');
    const [call] = coordinator.calls;
    expect(call!.caller.deadlineAtMs).toBeGreaterThanOrEqual(before);
    expect(call!.caller.deadlineAtMs).toBeLessThanOrEqual(Date.now() + 2_000);
    await until(() => call!.caller.signal.aborted);
    expect(coordinator.gone).toBe(1);
  });

  it.each([-3_600_000, 3_600_000])(
    'a caller’s deadline is told by the coordinator’s clock, which is %i ms from that of the machine',
    async (skewMs) => {
      const clock = { now: () => Date.now() + skewMs };
      await using other = await RpcPeer.open({ clock });
      await other.client().score(aRequest(), { deadlineMs: 60_000 });
      const leftMs = other.coordinator.calls[0]!.caller.deadlineAtMs - clock.now();
      expect(leftMs).toBeGreaterThan(0);
      expect(leftMs).toBeLessThanOrEqual(60_000);
    },
  );

  it('a deadline of thirty days is no deadline that is over', async () => {
    using raw = rawClient();
    await raw.score({ ...everythingWrong, ...fine }, Date.now() + 30 * 86_400_000);
    expect(coordinator.calls[0]!.caller.deadlineAtMs).toBeGreaterThan(Date.now());
  });

  it('a caller without a deadline has none', async () => {
    using raw = rawClient();
    await raw.score({ ...everythingWrong, ...fine }, Infinity);
    expect(coordinator.calls[0]!.caller.deadlineAtMs).toBe(Infinity);
  });

  it("the caller's abort reaches the coordinator's signal", async () => {
    coordinator.hold();
    const controller = new AbortController();
    const call = failure(client.score(aRequest(), { signal: controller.signal }));
    await until(() => coordinator.calls.length === 1);
    controller.abort();
    expect((await call).kind).toBe('cancelled');
    await until(() => coordinator.gone === 1);
  });

  it('an abort while waiting for the next try ends the call', async () => {
    coordinator.script = () => ({ kind: 'fault', fault: fault('overloaded', 'full', { retryAfterMs: 60_000 }) });
    const controller = new AbortController();
    const call = failure(client.score(aRequest(), { signal: controller.signal }));
    await until(() => coordinator.calls.length === 1);
    setTimeout(() => controller.abort(), 20);
    expect((await call).kind).toBe('cancelled');
    expect(coordinator.calls).toHaveLength(1);
  });
});

describe('retries', () => {
  it('shed and unavailable calls are tried again as the same request', async () => {
    const faults = [fault('overloaded', 'full', { retryAfterMs: 10 }), fault('queue_unavailable', 'nats is away')];
    coordinator.script = (input) => {
      const it = faults.shift();
      return it ? { kind: 'fault', fault: it } : { kind: 'verdict', verdict: verdictFor(input) };
    };
    const verdict = await client.score(aRequest());
    expect(verdict.kind).toBe('valid');
    expect(new Set(coordinator.calls.map((call) => call.requestId))).toEqual(new Set([verdict.requestId]));
    expect(coordinator.calls).toHaveLength(3);
  });

  it('ends after the tries with the last fault, and with the delay that was asked for', async () => {
    const it = fault('draining', 'shutting down', { retryAfterMs: 1 });
    coordinator.script = () => ({ kind: 'fault', fault: it });
    const error = await failure(client.score(aRequest()));
    expect([error.kind, error.retryAfterMs, error.message]).toEqual(['draining', 1, 'shutting down']);
    expect(coordinator.calls).toHaveLength(3);
  });

  it('gives up before the deadline when the delay reaches beyond it', async () => {
    coordinator.script = () => ({ kind: 'fault', fault: fault('overloaded', 'full', { retryAfterMs: 60_000 }) });
    expect((await failure(client.score(aRequest(), { deadlineMs: 30_000 }))).kind).toBe('overloaded');
    expect(coordinator.calls).toHaveLength(1);
  });

  it.each(['key_reused', 'internal', 'cancelled', 'failed_precondition'] as const)(
    'does not try %s again',
    async (kind) => {
      coordinator.script = () => ({ kind: 'fault', fault: fault(kind, 'no') });
      expect((await failure(client.score(aRequest()))).kind).toBe(kind);
      expect(coordinator.calls).toHaveLength(1);
    },
  );

  it('nobody there is `unreachable`, after the tries', async () => {
    const nobody = peer.client({ address: '127.0.0.1:1', retries: { triesMax: 2, backoffMs: 5 } });
    expect((await failure(nobody.score(aRequest()))).kind).toBe('unreachable');
  });
});

const nothing = {
  content: undefined,
  options: undefined,
  idempotencyKey: '',
  tenant: '',
  class: 0,
  detail: 0,
  fresh: '',
  expectedJudge: '',
  allowJudgeChange: false,
} as const;
const fine = {
  ...nothing,
  content: {
    query: { messages: [{ role: 'user', content: 'q' }] },
    responses: ['a'],
    reference: undefined,
    principles: [],
  },
};

const everythingWrong: WireRequest = {
  idempotencyKey: 'k'.repeat(257),
  content: {
    query: {
      messages: [
        { role: '', content: '' },
        { role: 'assistent', content: 'x' },
      ],
    },
    responses: [],
    reference: undefined,
    principles: [{ text: ' ', weightPercent: 101 }],
  },
  options: {
    k: 4_294_967_295,
    kMeta: 0,
    vote: 99 as never,
    temperature: NaN,
    topP: 1.1,
    maxTokens: 0,
    quorum: 0,
    timeBudgetMs: 1,
    seed: 0,
    template: 'a/b',
    meta: undefined,
    stop: 7 as never,
    stopError: 0.6,
  },
  tenant: 'a b',
  class: 9 as never,
  detail: 7 as never,
  fresh: '',
  expectedJudge: '',
  allowJudgeChange: false,
};

/** The generated client, which sends whatever it is given. */
function rawClient(options: object = {}) {
  const raw = new RewardServiceClient(peer.server.address, credentials.createInsecure(), options);
  return {
    score: (request: WireRequest, deadlineAtMs = Date.now() + 10_000) =>
      callOnce(raw.score.bind(raw), request, new Metadata(), deadlineAtMs, undefined),
    [Symbol.dispose]: () => raw.close(),
  };
}

function validVerdict(input: Parameters<typeof verdictFor>[0]) {
  const verdict = verdictFor(input);
  if (verdict.kind !== 'valid') throw new Error('scripted verdicts are valid');
  const { kind: _kind, ...rest } = verdict;
  return rest;
}
