// Fleet: the cluster of a chaos run. Real processes and nats-servers, with a proxy of its own between any two that speak to each other:
// each process and each nats-server, callers and each coordinator, each worker and its engine. nats-servers of one cluster speak without.

import { setTimeout as sleep } from 'node:timers/promises';
import { startFakeEngine, type FakeEngine } from '../../services/fake-engine/server.js';
import { serviceEnvironment, type Role } from '../support/cluster.js';
import { startEngineProxy } from '../support/engine-proxy.js';
import type { Namespace } from '../support/namespace.js';
import { startNats, type NatsOptions, type NatsServer } from '../support/nats.js';
import { startNatsCluster } from '../support/nats-cluster.js';
import type { SmallDisk } from '../support/small-disk.js';
import { startTcpProxy } from '../support/tcp-proxy.js';
import { chaosJudge, patientMeta } from './calm.js';
import { storeOn, type Ground } from './ground.js';
import { poisonMarks } from './load.js';
import { Member } from './member.js';

/** Survivors of each kind while one is struck. */
const sizes: Readonly<Record<Role, number>> = { coordinator: 2, 'grm-worker': 2, 'meta-worker': 2 };

/** Quick to notice and to hand over, so that a short run sees it happen; the times themselves are no part of what is judged. */
const quick = {
  GRM_NATS__ACK_WAIT_MS: '3000',
  GRM_COORDINATOR__TAKEOVER_EVERY_MS: '1000',
  GRM_COORDINATOR__SWEEP_EVERY_MS: '1000',
  GRM_COORDINATOR__SHARD_SAMPLES_MAX: '2',
  GRM_COORDINATOR__HEDGE__FLOOR_MS: '1000',
  GRM_COORDINATOR__HEDGE__EXTRA_RATIO: '0.2',
  GRM_COORDINATOR__DRAIN_GRACE_MS: '5000',
  GRM_WORKER__DRAIN_GRACE_MS: '2000',
  GRM_META__DRAIN_GRACE_MS: '2000',
};

export interface FleetEvents {
  /** A process ended by itself. */
  oddEnd(member: string, how: number | string, log: string): void;
  /** A process could not be started again. */
  lost(member: string, error: unknown): void;
  /** A worker read poison and is dead. */
  poisoned(member: string): void;
}

/** A nats-server, and what it stands on where the machine allows that. */
export interface NatsPost {
  readonly server: NatsServer;
  readonly disk?: SmallDisk;
  readonly namespace?: Namespace;
}

export interface Fleet extends AsyncDisposable {
  readonly nats: readonly NatsPost[];
  readonly engine: FakeEngine;
  readonly members: readonly Member[];
  of(role: Role): readonly Member[];
  /** Everything runs, and nothing is in anybody's way. */
  heal(): Promise<void>;
}

/** Resolves when every process is ready. Ends before its ground does. */
export async function startFleet(
  servers: 1 | 3,
  generationMs: number,
  ground: Ground,
  events: FleetEvents,
): Promise<Fleet> {
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const each of closers.splice(0).reverse()) await each();
  };
  try {
    const nats = await startServers(servers, ground, closers);
    const engine = await startFakeEngine({ host: ground.host, port: 0, instant: true, ...chaosJudge });
    closers.push(() => engine.close());
    // Slow enough that whoever is struck has work in hand.
    engine.setFaults([{ kind: 'slow', probability: 1, delayMs: generationMs, on: 'generate' }]);
    const members: Member[] = [];
    for (const role of ['coordinator', 'grm-worker', 'meta-worker'] as const) {
      for (let at = 0; at < sizes[role]; at++) {
        const member = await openMember(`${role} ${at}`, role, nats, engine, ground, events);
        closers.push(() => member.close());
        members.push(member);
      }
    }
    const of = (role: Role): readonly Member[] => members.filter((member) => member.role === role);
    // The first coordinator makes the streams that the others wait for.
    await of('coordinator')[0]?.start();
    await Promise.all(members.map((member) => member.start()));
    return {
      nats,
      engine,
      members,
      of,
      async heal() {
        for (const { server, disk, namespace } of nats) {
          server.resume();
          await namespace?.join();
          await disk?.free();
          if (server.pid() === undefined) await server.restart();
        }
        await Promise.all(members.map((member) => member.heal()));
      },
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function startServers(
  servers: 1 | 3,
  ground: Ground,
  closers: (() => Promise<void>)[],
): Promise<readonly NatsPost[]> {
  const places: Omit<NatsPost, 'server'>[] = [];
  for (let at = 0; at < servers; at++) {
    const disk = await ground.disk();
    const namespace = await ground.namespace();
    places.push({ ...(disk && { disk }), ...(namespace && { namespace }) });
  }
  const optionsOf = (at: number): NatsOptions => {
    const { disk, namespace } = places[at] ?? {};
    return { ...(disk && storeOn(disk)), ...(namespace && { place: namespace }) };
  };
  const started = servers === 1 ? await startNats(optionsOf(0)) : await startNatsCluster(optionsOf);
  closers.push(() => Promise.resolve(started[Symbol.asyncDispose]()));
  const all = 'servers' in started ? started.servers : [started];
  return all.map((server, at) => ({ server, ...places[at] }));
}

async function openMember(
  name: string,
  role: Role,
  nats: readonly NatsPost[],
  fake: FakeEngine,
  ground: Ground,
  events: FleetEvents,
): Promise<Member> {
  const { host } = ground;
  const namespace = await ground.namespace();
  const links = await Promise.all(nats.map(({ server }) => startTcpProxy(new URL(server.url).host, host)));
  const door = role === 'coordinator' ? await startTcpProxy() : undefined;
  const engine = role === 'grm-worker' ? await startEngineProxy(fake.url, (body) => look(body), 0, host) : undefined;
  const servers = links.map(({ address }) => `nats://${address}`);
  // Doors beyond the loopback, in a network that nobody else is on.
  const doors = namespace && {
    GRM_GRPC__LISTEN: `${namespace.address}:0`,
    GRM_HTTP__LISTEN: `${namespace.address}:0`,
    GRM_GRPC__ALLOW_INSECURE: 'true',
  };
  const env = {
    ...serviceEnvironment(servers, engine?.url ?? fake.url),
    ...patientMeta,
    ...quick,
    ...doors,
    GRM_NATS__REPLICAS: String(nats.length),
  };
  const again = (): void => void member.start().catch((error: unknown) => events.lost(name, error));
  const member: Member = new Member({
    name,
    role,
    links,
    env,
    ...(door && { door }),
    ...(engine && { engine }),
    ...(namespace && { namespace }),
    onOddEnd: (_member, how, log) => {
      events.oddEnd(name, how, log);
      again();
    },
  });

  /** What becomes of one call to the engine. */
  const look = async (body: string): Promise<'pass' | 'break'> => {
    if (isPoison(body)) {
      if ((await member.end('SIGKILL')) !== undefined) {
        events.poisoned(name);
        await sleep(200);
        again();
      }
      return 'break';
    }
    if (!member.hang) return 'pass';
    await member.hang;
    return 'break';
  };
  return member;
}

/** The order of the responses in which the one that kills stands first; in the other order the prompt is harmless. */
function isPoison(body: string): boolean {
  const at = body.indexOf(poisonMarks.kills);
  return at >= 0 && at < body.indexOf(poisonMarks.harmless);
}
