// Strike: does to the fleet what the schedule says, one fault at a time to any one process, link or server.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Role } from '../support/cluster.js';
import type { Namespace } from '../support/namespace.js';
import type { TcpProxy, Weather } from '../support/tcp-proxy.js';
import type { Fleet, NatsPost } from './fleet.js';
import type { Member } from './member.js';
import type { Strike } from './schedule.js';

export interface Arena {
  readonly fleet: Fleet;
  /** Aborts when the faults are to end: whoever waits goes on at once. */
  readonly over: AbortSignal;
  /** False when the last poison is still at work. */
  poison(): boolean;
  /** A process that was asked to drain ended otherwise. */
  drained(member: string, how: number | string): void;
}

/** `undefined`: nothing could be struck now. */
export type Struck = { readonly what: string; readonly done: Promise<void> } | undefined;

const roles: Readonly<Record<string, Role>> = {
  worker: 'grm-worker',
  'meta worker': 'meta-worker',
  coordinator: 'coordinator',
};

const weathers: Readonly<Record<string, Weather>> = {
  delay: { kind: 'delay', delayMs: 150 },
  'black hole': { kind: 'black hole' },
  mute: { kind: 'mute' },
  'slow reader': { kind: 'slow reader', bytesPerSecond: 20_000 },
};

/** Strikes now; `done` settles when what was struck is whole again. */
export function strike({ kind, pick, forMs }: Strike, arena: Arena): Struck {
  const { fleet, over } = arena;
  const pause = (): Promise<void> => sleep(forMs, undefined, { signal: over }).catch(() => undefined);
  const [verb = '', ...rest] = kind.split(' ');
  const object = rest.join(' ');

  if (kind === 'poison') return arena.poison() ? { what: kind, done: Promise.resolve() } : undefined;
  if (object === 'nats' || kind === 'disk full') {
    const post = chosen(fleet.nats, pick);
    // A majority has to live, or it is no cluster any more; a lone server may go.
    if (!post || fleet.nats.some((each) => struckPosts.has(each))) return undefined;
    const what = `${kind}: nats ${fleet.nats.indexOf(post)}, ${forMs} ms`;
    return { what, done: strikeServer(post, verb, pause) };
  }
  const free = fleet.members.filter((member) => !member.isStruck && member.process !== undefined);
  if (verb === 'engine') {
    return on(chosen(free.filter(isWorker), pick), kind, forMs, async (member) => {
      member.hang = pause();
      await member.hang;
      member.hang = undefined;
    });
  }
  if (verb === 'link' || verb === 'door') {
    const isDoor = verb === 'door';
    const member = chosen(isDoor ? free.filter(({ door }) => door) : free, pick);
    return on(member, kind, forMs, ({ door, links }) => blow(isDoor && door ? [door] : links, object, pause));
  }
  const role = roles[object];
  const member = chosen(
    free.filter((each) => each.role === role),
    pick,
  );
  return on(member, kind, forMs, async (each) => {
    if (verb === 'freeze') {
      each.freeze();
      await pause();
      each.thaw();
      return;
    }
    if (verb === 'partition') {
      await apart(each.namespace, pause);
      return;
    }
    const how = await each.end(verb === 'drain' ? 'SIGTERM' : 'SIGKILL');
    if (verb === 'drain' && how !== undefined && how !== 0) arena.drained(each.name, how);
    await pause();
    await each.start();
  });
}

function chosen<T>(from: readonly T[], pick: number): T | undefined {
  return from[Math.floor(pick * from.length)];
}

function isWorker({ role }: Member): boolean {
  return role === 'grm-worker';
}

/** Strikes a member that nothing else is at. */
function on(member: Member | undefined, kind: string, forMs: number, act: (member: Member) => Promise<void>): Struck {
  if (!member) return undefined;
  member.isStruck = true;
  const done = act(member).finally(() => (member.isStruck = false));
  return { what: `${kind}: ${member.name}, ${forMs} ms`, done };
}

async function blow(proxies: readonly TcpProxy[], name: string, pause: () => Promise<void>): Promise<void> {
  const weather = weathers[name];
  for (const proxy of proxies) {
    if (weather) proxy.set(weather);
    else proxy.cut();
  }
  if (!weather) return;
  await pause();
  for (const proxy of proxies) proxy.set({ kind: 'clear' });
}

async function apart(namespace: Namespace | undefined, pause: () => Promise<void>): Promise<void> {
  if (!namespace) throw new Error('it has no namespace, and the schedule has a partition');
  await namespace.cut();
  await pause();
  await namespace.join();
}

const struckPosts = new WeakSet<NatsPost>();
/** A nats-server whose disk was full may not end when it is told to: 2.9.10 does not. */
const supervisorGraceMs = 5_000;
const refillEveryMs = 200;

async function strikeServer(post: NatsPost, verb: string, pause: () => Promise<void>): Promise<void> {
  struckPosts.add(post);
  try {
    await blows[verb]?.(post, pause);
  } finally {
    struckPosts.delete(post);
  }
}

const blows: Readonly<Record<string, (post: NatsPost, pause: () => Promise<void>) => Promise<void>>> = {
  async freeze({ server }, pause) {
    server.pause();
    await pause();
    server.resume();
  },
  async kill({ server }, pause) {
    await server.kill('SIGKILL');
    await pause();
    await server.restart();
  },
  partition: ({ namespace }, pause) => apart(namespace, pause),
  // "disk full". As an operator does: first room, then a restart, since none takes up writing again by itself.
  async disk({ server, disk }, pause) {
    if (!disk) throw new Error('it has no disk of its own, and the schedule fills it');
    // Whatever fills it goes on, and takes what the server gives back when it removes messages.
    const over = pause().then(() => true);
    try {
      do await disk.fill();
      while (!(await Promise.race([over, sleep(refillEveryMs, false)])));
    } finally {
      try {
        await disk.free();
      } finally {
        await server.restart(supervisorGraceMs);
      }
    }
  },
};
