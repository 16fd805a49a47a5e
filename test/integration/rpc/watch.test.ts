// WatchScore and GetVerdict: a real server and client over a real socket, a scripted coordinator behind them.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fault } from '../../../src/fault.js';
import type { GrmClient, Watched } from '../../../src/rpc/client.js';
import { failed, scored } from '../../support/judgement.js';
import { aRequest, failure, RpcPeer, until } from '../../support/rpc-peer.js';
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

describe('WatchScore', () => {
  it('yields samples as they come, then the verdict', async () => {
    coordinator.hold();
    const events = client.watch(aRequest({ k: 2 }));
    const first = events.next();
    await until(() => coordinator.calls.length === 1);
    const [call] = coordinator.calls;
    call!.sample({ sample: scored(1, [2, 2], { text: 'why' }), kept: 'kept' });
    expect((await first).value).toEqual({
      kind: 'sample',
      sample: { sample: scored(1, [2, 2], { text: 'why' }), kept: 'kept' },
    });
    call!.sample({ sample: failed(0), kept: 'invalid', metaReward: -0.5 });
    expect((await events.next()).value).toEqual({
      kind: 'sample',
      sample: { sample: failed(0), kept: 'invalid', metaReward: -0.5 },
    });
    call!.verdict();
    expect((await events.next()).value).toEqual({ kind: 'verdict', verdict: verdictFor(call!.input) });
    expect((await events.next()).done).toBe(true);
  });

  it('leaving the loop cancels the request', async () => {
    coordinator.hold();
    const events = client.watch(aRequest());
    const first = events.next();
    await until(() => coordinator.calls.length === 1);
    coordinator.calls[0]!.sample({ sample: scored(0, [2, 2]), kept: 'kept' });
    await first;
    await events.return();
    await until(() => coordinator.gone === 1);
  });

  it('a try that fails is taken up again, and no sample is yielded twice', async () => {
    const samples = [scored(0, [1, 2]), scored(1, [3, 4])].map((sample) => ({ sample, kept: 'kept' as const }));
    coordinator.script = (input, call) => {
      for (const judged of samples.slice(0, coordinator.calls.length)) call.sample(judged);
      return coordinator.calls.length === 1
        ? { kind: 'fault', fault: fault('draining', 'shutting down') }
        : { kind: 'verdict', verdict: verdictFor(input) };
    };
    const seen: Watched[] = [];
    for await (const event of client.watch(aRequest({ k: 2 }))) seen.push(event);
    expect(seen.map((event) => (event.kind === 'sample' ? event.sample.sample.index : event.kind))).toEqual([
      0,
      1,
      'verdict',
    ]);
  });

  it('shows no samples where only rewards are wanted', async () => {
    coordinator.script = (input, call) => {
      call.sample({ sample: scored(0, [1, 2]), kept: 'kept' });
      return { kind: 'verdict', verdict: verdictFor(input) };
    };
    const kinds: string[] = [];
    for await (const event of client.watch(aRequest({ detail: 'rewards' }))) kinds.push(event.kind);
    expect(kinds).toEqual(['verdict']);
  });

  it('a wrong request throws its violations', async () => {
    expect((await failure(client.watch(aRequest({ responses: [] })).next())).violations[0]!.field).toBe(
      'content.responses',
    );
  });
});

describe('GetVerdict', () => {
  it('returns a finished verdict by id and by key, with what was judged', async () => {
    const verdict = await client.score(aRequest({ idempotencyKey: 'my key' }));
    const byId = await client.verdict(verdict.requestId);
    expect(byId).toEqual({ verdict, content: coordinator.calls[0]!.input.content });
    expect(await client.verdict('my key')).toEqual(byId);
    expect(await client.verdict('my key', { tenant: 'team-b' })).toBeUndefined();
    expect(await client.verdict('unknown')).toBeUndefined();
  });

  it('refuses a name that cannot be one', async () => {
    expect((await failure(client.verdict(''))).violations[0]!.field).toBe('request_id');
  });
});
