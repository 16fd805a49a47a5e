// ClusterService, health, reflection, and a server that closes.

import { connect } from 'node:net';
import { credentials, type Client, type ClientReadableStream, type ServiceError } from '@grpc/grpc-js';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoPath } from 'grpc-health-check';
import { dirname, join } from 'node:path';
import { createRequire } from 'node:module';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fault, FaultError } from '../../../src/fault.js';
import type { GrmClient } from '../../../src/rpc/client.js';
import { serveRpc } from '../../../src/rpc/server.js';
import type { DeadLetter } from '../../../src/work/shard.js';
import { RewardServiceClient, type ScoreRequest } from '../../../src/wire/gen/grm/v1/reward.js';
import { failure, aRequest, RpcPeer, someStatus, until } from '../../support/rpc-peer.js';
import { ScriptedCoordinator, verdictFor } from '../../support/scripted-coordinator.js';
import { startTcpProxy } from '../../support/tcp-proxy.js';

const letter: DeadLetter = {
  requestId: 'r1',
  unit: 3,
  stage: 'sample',
  samples: [6, 7],
  reason: 'worker lost 5 times',
  deliveries: 5,
  worker: 'n1',
  diedAtMs: 1_700_000_000_000,
};

describe('ClusterService', () => {
  let peer: RpcPeer;
  let client: GrmClient;
  beforeAll(async () => {
    peer = await RpcPeer.open();
    client = peer.client({ retries: { triesMax: 2, backoffMs: 5 } });
  });
  afterAll(() => peer[Symbol.asyncDispose]());
  beforeEach(() => {
    peer.cluster.orders.length = 0;
    peer.cluster.failure = undefined;
    peer.cluster.dead = [letter, { ...letter, unit: 4, stage: 'meta' }];
  });

  it('shows the whole status', async () => {
    expect(await client.status()).toEqual(someStatus);
  });

  it('drains and resumes nodes, named or all', async () => {
    expect(await client.drain(['n1'])).toEqual(['n1']);
    expect(await client.drain()).toEqual(['n1']);
    expect(await client.resume(['n1'])).toEqual(['n1']);
    expect(peer.cluster.orders).toEqual(['drain n1', 'drain ', 'resume n1']);
  });

  it('sets slots, and refuses numbers and nodes that cannot be', async () => {
    expect(await client.setSlots('n1', 4_096)).toBe(4_096);
    expect((await failure(client.setSlots('n9', 1))).kind).toBe('not_found');
    expect((await failure(client.setSlots('', 4_097))).violations.map(({ field }) => field)).toEqual(['node', 'slots']);
    expect((await failure(client.setSlots('n1', 0.5))).kind).toBe('invalid_request');
    expect(peer.cluster.orders).toEqual(['slots n1 4096']);
  });

  it('cancels a running request', async () => {
    const { requestId } = await client.score(aRequest());
    expect(await client.cancel(requestId)).toBe(true);
    expect(await client.cancel('other')).toBe(false);
    expect(peer.coordinator.cancelled).toEqual([requestId, 'other']);
    expect((await failure(client.cancel(''))).kind).toBe('invalid_request');
  });

  it('lists the dead, under the ids that retryDead takes', async () => {
    const dead = await client.listDead();
    const { unit: _unit, ...rest } = letter;
    expect(dead).toEqual([
      { id: 'r1.sample.3', ...rest },
      { id: 'r1.meta.4', ...rest, stage: 'meta' },
    ]);
    expect(await client.listDead(1)).toHaveLength(1);
    const retried = await client.retryDead([...dead.map(({ id }) => id), 'r2.sample.0']);
    const refused = new Map([['r2.sample.0', 'no such shard']]);
    expect(retried).toEqual({ requestIds: ['r1', 'r1'], shards: 2, refused, refusedCount: 1 });
  });

  it('lists and retries more of the dead than one call takes', async () => {
    const before = peer.cluster.dead;
    peer.cluster.dead = Array.from({ length: 2_500 }, (_, unit) => ({ ...letter, unit }));
    const all = await client.listDead(10_000);
    expect(all.map(({ id }) => id)).toEqual(peer.cluster.dead.map(({ unit }) => `r1.sample.${unit}`));
    expect(await client.listDead(1_200)).toHaveLength(1_200);
    expect(await client.retryDead(all.map(({ id }) => id))).toMatchObject({ shards: 2_500, refusedCount: 0 });
    peer.cluster.dead = before;
  });

  it('says when NATS is away, after trying again', async () => {
    peer.cluster.failure = new FaultError(fault('queue_unavailable', 'NATS does not answer'));
    const error = await failure(client.status());
    expect([error.kind, error.message]).toEqual(['queue_unavailable', 'NATS does not answer']);
  });
});

describe('health', () => {
  const definition = loadSync(protoPath, { includeDirs: [dirname(dirname(dirname(protoPath)))], enums: String });
  const { grpc: loaded } = grpc.loadPackageDefinition(definition) as unknown as {
    grpc: { health: { v1: { Health: new (address: string, creds: unknown) => HealthClient } } };
  };
  interface HealthClient extends Client {
    check(request: object, reply: (error: ServiceError | null, response: { status: string }) => void): void;
    watch(request: object): ClientReadableStream<{ status: string }>;
  }

  function healthOf(address: string) {
    const client = new loaded.health.v1.Health(address, credentials.createInsecure());
    const check = (service: string) =>
      new Promise<string>((resolve) =>
        client.check({ service }, (error, response) => resolve(error ? `error ${error.code}` : response.status)),
      );
    return { client, check };
  }

  it('tells of each service, and flips while NATS is away or somebody says so', async () => {
    await using peer = await RpcPeer.open({ tokens: [{ name: 'x', token: 'secret' }] });
    const { client, check } = healthOf(peer.server.address);
    const watched: string[] = [];
    const watch = client.watch({ service: 'grm.v1.RewardService' });
    watch.on('data', ({ status }: { status: string }) => watched.push(status));
    watch.on('error', () => undefined);
    await until(() => watched.length === 1);

    const all = () => Promise.all(['', 'grm.v1.RewardService', 'grm.v1.ClusterService', 'unknown'].map(check));
    expect(await all()).toEqual(['SERVING', 'SERVING', 'SERVING', 'error 5']);
    peer.events.emit('queue.connection', { state: 'disconnected', reason: 'test' });
    peer.server.setNotServing('starting', true);
    expect(await all()).toEqual(['NOT_SERVING', 'NOT_SERVING', 'SERVING', 'error 5']);
    peer.events.emit('queue.connection', { state: 'connected', reason: 'test' });
    expect(await check('')).toBe('NOT_SERVING');
    peer.server.setNotServing('starting', false);
    expect(await all()).toEqual(['SERVING', 'SERVING', 'SERVING', 'error 5']);
    expect(watched).toEqual(['SERVING', 'NOT_SERVING', 'SERVING']);

    const closed = peer.server.close(1_000);
    await until(() => watched.length === 4);
    expect(watched.at(-1)).toBe('NOT_SERVING');
    await closed;
    client.close();
  });
});

describe('reflection', () => {
  it('lists the services and serves their descriptors', async () => {
    await using peer = await RpcPeer.open();
    const entry = createRequire(import.meta.url).resolve('@grpc/reflection');
    const proto = join(dirname(entry), '../proto/grpc/reflection/v1/reflection.proto');
    const { grpc: loaded } = grpc.loadPackageDefinition(loadSync(proto)) as unknown as {
      grpc: { reflection: { v1: { ServerReflection: new (address: string, creds: unknown) => ReflectionClient } } };
    };
    interface ReflectionClient extends Client {
      serverReflectionInfo(): grpc.ClientDuplexStream<object, ReflectionAnswer>;
    }
    interface ReflectionAnswer {
      listServicesResponse?: { service: { name: string }[] };
      fileDescriptorResponse?: { fileDescriptorProto: Buffer[] };
    }
    const client = new loaded.reflection.v1.ServerReflection(peer.server.address, credentials.createInsecure());
    const stream = client.serverReflectionInfo();
    const answers: ReflectionAnswer[] = [];
    stream.on('data', (answer: ReflectionAnswer) => answers.push(answer));
    stream.write({ listServices: '*' });
    stream.write({ fileContainingSymbol: 'grm.v1.RewardService' });
    await until(() => answers.length === 2);
    const names = answers[0]!.listServicesResponse!.service.map(({ name }) => name);
    expect(names).toEqual(
      expect.arrayContaining(['grm.v1.RewardService', 'grm.v1.ClusterService', 'grpc.health.v1.Health']),
    );
    const files = Buffer.concat(answers[1]!.fileDescriptorResponse!.fileDescriptorProto).toString('latin1');
    for (const name of ['ScoreStream', 'Verdict', 'BadRequest']) expect(files).toContain(name);
    stream.end();
    client.close();
  });
});

describe('closing', () => {
  it('V1: open calls finish, new calls are UNAVAILABLE (P6)', async () => {
    await using peer = await RpcPeer.open();
    const { coordinator } = peer;
    coordinator.hold();
    const client = peer.client({ retries: { triesMax: 1 } });
    const running = client.score(aRequest());
    const watching = client.watch(aRequest({ seed: 2 }));
    const watched = watching.next();
    await until(() => coordinator.calls.length === 2);
    const closed = peer.server.close(10_000);
    const late = peer.client({ retries: { triesMax: 1 } });
    expect((await failure(late.score(aRequest({ seed: 3 })))).kind).toBe('unreachable');
    for (const call of coordinator.calls) call.verdict();
    expect(await running).toEqual(verdictFor(coordinator.calls[0]!.input));
    expect((await watched).value).toMatchObject({ kind: 'verdict' });
    await closed;
    expect(coordinator.calls).toHaveLength(2);
    expect(coordinator.gone).toBe(0);
    expect(peer.server.open()).toBe(0);
  });

  it('V1: past the grace open calls are answered UNAVAILABLE, and their requests are not cancelled (P1)', async () => {
    await using peer = await RpcPeer.open();
    const { coordinator } = peer;
    coordinator.hold();
    const client = peer.client({ retries: { triesMax: 1 } });
    const calls = [failure(client.score(aRequest())), failure(client.watch(aRequest({ seed: 2 })).next())];
    const raw = new RewardServiceClient(peer.server.address, credentials.createInsecure());
    const stream = raw.scoreStream();
    const streamEnd = new Promise<grpc.StatusObject>((resolve) => {
      stream.on('status', resolve);
    });
    stream.on('error', () => undefined);
    stream.resume();
    stream.write({ correlationId: '1', request: undefined });
    stream.write({ correlationId: '2', request: wireRequest });
    await until(() => coordinator.calls.length === 3);
    await peer.server.close(50);
    expect((await Promise.all(calls)).map(({ kind }) => kind)).toEqual(['draining', 'draining']);
    expect((await streamEnd).code).toBe(grpc.status.UNAVAILABLE);
    expect(coordinator.calls.map(({ caller }) => caller.signal.aborted)).toEqual([false, false, false]);
    raw.close();
  });

  it('V2: a connection that is silent for the keep-alive is given up; whoever was held back is told `unreachable`, and a retry is answered', async () => {
    await using peer = await RpcPeer.open({ keepaliveMs: 100, keepaliveTimeoutMs: 200 });
    const { coordinator } = peer;
    await using door = await startTcpProxy(Number(peer.server.address.split(':').at(-1)));
    const hasty = peer.client({ address: door.address, retries: { triesMax: 1 } });
    const patient = peer.client({ address: door.address, retries: { triesMax: 20, backoffMs: 20 } });
    coordinator.hold();
    const lost = ['one', 'two', 'three'].map((query) => failure(hasty.score(aRequest({ query }))));
    const kept = patient.score(aRequest({ query: 'kept' }));
    await until(() => coordinator.calls.length === 4);
    door.set({ kind: 'black hole' });
    await until(() => coordinator.gone === 4);
    door.set({ kind: 'clear' });
    // The server has nobody to tell a status; they see the connection end, and no more.
    expect((await Promise.all(lost)).map(({ kind }) => kind)).toEqual(['unreachable', 'unreachable', 'unreachable']);
    await until(() => coordinator.calls.length === 5);
    coordinator.calls[4]!.verdict();
    expect(await kept).toEqual(verdictFor(coordinator.calls[4]!.input));
  });

  it('V3: an old connection is left for a new one, and no call fails', async () => {
    await using peer = await RpcPeer.open({ maxConnectionAgeMs: 250 });
    const client = peer.client();
    // Eight lives of a connection, and calls on all of them. A life is longer than a busy machine's pause: a call may be refused once, not by every new connection.
    const endMs = Date.now() + 2_000;
    for (let calls = 0; calls < 50 || Date.now() < endMs; calls++) {
      expect((await client.score(aRequest({ seed: calls }))).kind).toBe('valid');
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  });

  it('a second server on the same address says which setting is wrong', async () => {
    await using peer = await RpcPeer.open();
    const again = serveRpc({
      listen: peer.server.address,
      coordinator: new ScriptedCoordinator(),
      cluster: peer.cluster,
      events: peer.events,
    });
    await expect(again).rejects.toThrow(`rpc.listen = "${peer.server.address}"`);
  });

  it('leaves nothing listening', async () => {
    const peer = await RpcPeer.open();
    const port = Number(peer.server.address.split(':')[1]);
    await peer[Symbol.asyncDispose]();
    const error = await new Promise<NodeJS.ErrnoException>((resolve) =>
      connect(port, '127.0.0.1').on('error', resolve),
    );
    expect(error.code).toBe('ECONNREFUSED');
  });
});

const wireRequest: ScoreRequest = {
  idempotencyKey: '',
  content: {
    query: { messages: [{ role: 'user', content: 'q' }] },
    responses: ['a'],
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
};
