// ScoreStream on the wire: the generated client against the real server, so that a test may misbehave.

import { credentials, Metadata, type ClientDuplexStream, type StatusObject } from '@grpc/grpc-js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fault } from '../../../src/fault.js';
import { limits } from '../../../src/limits.js';
import { faultOf } from '../../../src/rpc/status.js';
import {
  RewardServiceClient,
  type ScoreRequest,
  type ScoreStreamRequest,
  type ScoreStreamResponse,
} from '../../../src/wire/gen/grm/v1/reward.js';
import { RpcPeer, until } from '../../support/rpc-peer.js';
import { scoreOf, ScriptedCoordinator, verdictFor } from '../../support/scripted-coordinator.js';

let peer: RpcPeer;
let raw: RewardServiceClient;
let coordinator: ScriptedCoordinator;

beforeAll(async () => {
  peer = await RpcPeer.open();
  raw = new RewardServiceClient(peer.server.address, credentials.createInsecure());
  coordinator = peer.coordinator;
});
afterAll(async () => {
  raw.close();
  await peer[Symbol.asyncDispose]();
});
beforeEach(() => {
  coordinator.script = new ScriptedCoordinator().script;
  coordinator.calls.length = 0;
  coordinator.gone = 0;
  coordinator.openMax = coordinator.open;
});

function requestFor(responses: string[], more: Partial<ScoreRequest> = {}): ScoreRequest {
  return {
    idempotencyKey: '',
    content: {
      query: { messages: [{ role: 'user', content: 'q' }] },
      responses,
      reference: undefined,
      principles: [],
    },
    options: undefined,
    tenant: '',
    class: 0,
    detail: 0,
    fresh: '',
    expectedJudge: '',
    allowJudgeChange: false,
    ...more,
  };
}

/** One stream with all that came back on it. */
class Talk {
  readonly answers: ScoreStreamResponse[] = [];
  status: StatusObject | undefined;

  private constructor(readonly stream: ClientDuplexStream<ScoreStreamRequest, ScoreStreamResponse>) {
    stream.on('error', () => undefined);
    stream.on('status', (status: StatusObject) => (this.status = status));
  }

  static listening(): Talk {
    const talk = Talk.deaf();
    talk.stream.on('data', (answer: ScoreStreamResponse) => talk.answers.push(answer));
    return talk;
  }

  /** Reads nothing until told to. */
  static deaf(deadline?: number): Talk {
    return new Talk(raw.scoreStream(new Metadata(), deadline === undefined ? {} : { deadline }));
  }

  say(correlationId: string, request: ScoreRequest | undefined): void {
    this.stream.write({ correlationId, request });
  }

  ids(): string[] {
    return this.answers.map((answer) => answer.correlationId);
  }

  faultOf(correlationId: string) {
    const outcome = this.answers.find((answer) => answer.correlationId === correlationId)?.outcome;
    return outcome?.$case === 'status' ? faultOf(outcome.value) : undefined;
  }
}

describe('ScoreStream', () => {
  it('answers out of order, each under its own id', async () => {
    coordinator.hold();
    const talk = Talk.listening();
    const texts = ['a', 'bb', 'ccc', 'dddd'];
    for (const text of texts) talk.say(`id-${text}`, requestFor([text, '']));
    await until(() => coordinator.calls.length === 4);
    for (const at of [2, 0, 3, 1]) coordinator.calls[at]!.verdict();
    await until(() => talk.answers.length === 4);
    expect(talk.ids()).toEqual(['id-ccc', 'id-a', 'id-dddd', 'id-bb']);
    for (const { correlationId, outcome } of talk.answers) {
      const first = outcome?.$case === 'verdict' ? outcome.value.rewards[0]!.value : undefined;
      expect(first).toBe(scoreOf(correlationId.slice(3)));
    }
    talk.stream.end();
    await until(() => talk.status !== undefined);
    expect(talk.status!.code).toBe(0);
  });

  it('ST2: a wrong item is answered with all its violations and harms no other', async () => {
    const talk = Talk.listening();
    talk.say('bad', requestFor([], { tenant: 'a b' }));
    talk.say('empty', undefined);
    talk.say('good', requestFor(['a', 'b']));
    talk.stream.end();
    await until(() => talk.status !== undefined);
    expect(talk.status!.code).toBe(0);
    expect(talk.faultOf('bad')!.violations!.map(({ field }) => field)).toEqual(['content.responses', 'tenant']);
    expect(talk.faultOf('empty')!.violations!.map(({ field }) => field)).toEqual(['content']);
    expect(talk.answers.find(({ correlationId }) => correlationId === 'good')!.outcome!.$case).toBe('verdict');
  });

  it('ST2: a fault comes with the details of the unary call', async () => {
    const it = fault('overloaded', 'full', { retryAfterMs: 1_500 });
    coordinator.script = () => ({ kind: 'fault', fault: it });
    const talk = Talk.listening();
    talk.say('one', requestFor(['a']));
    await until(() => talk.answers.length === 1);
    expect(talk.faultOf('one')).toEqual(it);
    talk.stream.cancel();
  });

  it('ST3: an id is refused while it is open and free afterwards', async () => {
    coordinator.hold();
    const talk = Talk.listening();
    talk.say('same', requestFor(['first']));
    talk.say('same', requestFor(['second']));
    await until(() => talk.answers.length === 1);
    expect(talk.faultOf('same')!.violations![0]!.field).toBe('correlation_id');
    expect(coordinator.calls).toHaveLength(1);
    coordinator.calls[0]!.verdict();
    await until(() => talk.answers.length === 2);
    talk.say('same', requestFor(['third']));
    await until(() => coordinator.calls.length === 2);
    coordinator.calls[1]!.verdict();
    await until(() => talk.answers.length === 3);
    expect(talk.answers.slice(1).map(({ outcome }) => outcome!.$case)).toEqual(['verdict', 'verdict']);
    talk.stream.cancel();
  });

  it('refuses an id that is empty or too long', async () => {
    const talk = Talk.listening();
    const long = 'i'.repeat(limits.correlationIdBytesMax + 1);
    talk.say('', requestFor(['a']));
    talk.say(long, requestFor(['a']));
    await until(() => talk.answers.length === 2);
    expect([talk.faultOf('')!.kind, talk.faultOf(long)!.kind]).toEqual(['invalid_request', 'invalid_request']);
    talk.stream.cancel();
  });

  it('ST1: reads no more than 256 open items, and reads on as answers leave (P4)', async () => {
    coordinator.hold();
    const talk = Talk.listening();
    for (let at = 0; at < 600; at++) talk.say(`${at}`, requestFor([`${at}`]));
    talk.stream.end();
    await until(() => coordinator.calls.length === limits.streamOpenMax);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(coordinator.open).toBe(limits.streamOpenMax);
    for (let at = 0; at < 600; at++) {
      await until(() => coordinator.calls.length > at);
      coordinator.calls[at]!.verdict();
    }
    await until(() => talk.status !== undefined);
    expect(new Set(talk.ids()).size).toBe(600);
    expect(coordinator.openMax).toBe(limits.streamOpenMax);
  });

  it('ST1: stops reading at 64 MiB of open content (P4)', async () => {
    coordinator.hold();
    const talk = Talk.listening();
    const big = 'x'.repeat(8_000_000);
    for (let at = 0; at < 10; at++) talk.say(`${at}`, requestFor([big]));
    await until(() => coordinator.calls.length === 9);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(coordinator.calls).toHaveLength(9);
    for (const call of coordinator.calls) call.verdict();
    await until(() => coordinator.calls.length === 10);
    for (const call of coordinator.calls) call.verdict();
    await until(() => talk.answers.length === 10);
    talk.stream.cancel();
  });

  it('ST1: a caller that does not read its answers is not read, and loses nothing (P4)', async () => {
    const critique = 'x'.repeat(20_000);
    coordinator.script = (input) => ({ kind: 'verdict', verdict: verdictFor(input, critique) });
    // It reads one answer first: a grpc-js client that never began to read takes everything in and holds nobody back.
    const talk = Talk.listening();
    talk.stream.once('data', () => talk.stream.pause());
    const asked = 900;
    for (let at = 0; at < asked; at++) talk.say(`${at}`, requestFor([`${at}`]));
    talk.stream.end();
    await until(() => talk.stream.isPaused());
    let before = -1;
    while (before !== coordinator.calls.length) {
      before = coordinator.calls.length;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    // Open items, and answers in buffers: 16 objects at either end and the windows of HTTP/2.
    expect(coordinator.calls.length).toBeLessThan(limits.streamOpenMax + 200);
    talk.stream.resume();
    await until(() => talk.status !== undefined);
    expect(talk.status!.code).toBe(0);
    expect(new Set(talk.ids()).size).toBe(asked);
  });

  it('ST4: cancelling the stream aborts every open item', async () => {
    coordinator.hold();
    const talk = Talk.listening();
    for (let at = 0; at < 5; at++) talk.say(`${at}`, requestFor([`${at}`]));
    await until(() => coordinator.calls.length === 5);
    talk.stream.cancel();
    await until(() => coordinator.gone === 5);
    expect(coordinator.open).toBe(0);
    await until(() => peer.server.open() === 0);
  });

  it("the stream's deadline is every item's, and ends them", async () => {
    coordinator.hold();
    const deadline = Date.now() + 3_000;
    const talk = Talk.deaf(deadline);
    talk.stream.resume();
    talk.say('one', requestFor(['a']));
    await until(() => coordinator.calls.length === 1);
    // It travels as the time that is left, so it comes later by the way there.
    const late = coordinator.calls[0]!.caller.deadlineAtMs - deadline;
    expect(late).toBeGreaterThan(-300);
    expect(late).toBeLessThan(3_000);
    await until(() => talk.status !== undefined);
    expect(talk.status!.code).toBe(4);
    await until(() => coordinator.gone === 1);
  });

  it('answers a bug behind the door for that item alone', async () => {
    coordinator.script = (input) => {
      if (input.content.responses[0] === 'bug') throw new Error('bug');
      return { kind: 'verdict', verdict: verdictFor(input) };
    };
    const talk = Talk.listening();
    talk.say('bug', requestFor(['bug']));
    talk.say('fine', requestFor(['fine']));
    await until(() => talk.answers.length === 2);
    expect(talk.faultOf('bug')!.kind).toBe('internal');
    expect(talk.faultOf('fine')).toBeUndefined();
    talk.stream.cancel();
  });
});
