// Run: one chaos run from its start to its judgement. Faults strike a cluster under load; then everything is healed, comes to rest, and
// what happened is judged against the promises, and against an undisturbed run of the same requests.

import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { chanceOf } from '../sim/chance.js';
import { History, type Entry } from '../sim/history.js';
import { metric } from '../support/cluster.js';
import { undisturbed } from './calm.js';
import { call, openDoor, stream, type CallersWorld } from './callers.js';
import { startFleet, type Fleet } from './fleet.js';
import { openGround } from './ground.js';
import { judge } from './judge.js';
import { ledgerStory } from './ledger-story.js';
import { allowanceOf, requestOf, unhurried, type RequestPlan } from './load.js';
import { observe, verdictsOf, type Observer } from './observer.js';
import { reportOf, type Report } from './report.js';
import { scheduleOf, type FaultKind, type Pace } from './schedule.js';
import { strike } from './strike.js';

export interface ChaosOptions {
  readonly seed: number;
  readonly servers: 1 | 3;
  readonly pace: Pace;
  /** Requests begun, besides those over a stream. */
  readonly perSecond: number;
  /** The engine's time for one sample. */
  readonly generationMs: number;
  /** For the callers to be answered when all is healed, and then for the queues to be empty. */
  readonly settleMs: number;
  readonly progress: (line: string) => void;
}

export interface ChaosRan {
  readonly report: Report;
  readonly entries: readonly Entry[];
  readonly startMs: number;
}

/** Requests open at once; above it none are begun. */
const openMax = 64;
const streamedAtOnce = 8;
const progressEveryMs = 10_000;

export async function runChaos(options: ChaosOptions): Promise<ChaosRan> {
  const { seed, servers, pace, progress } = options;
  const history = new History(Date.now);
  const startMs = Date.now();
  const bug = (node: string, where: string, message: string): void =>
    history.add({ kind: 'trouble', node, where, message, bug: true });

  await using ground = await openGround();
  const { barred } = ground;
  for (const [kind, why] of barred) progress(`not allowed here: ${kind} (${why})`);
  await using fleet = await startFleet(servers, options.generationMs, ground, {
    oddEnd: (member, how, log) => bug(member, 'process', `ended by itself (${how}): ${log.slice(-2_000)}`),
    lost: (member, error) => bug(member, 'process', `does not start again: ${String(error)}`),
    poisoned: (member) => history.add({ kind: 'fault', what: `poison kills ${member}` }),
  });
  const observer = await observe(fleet.nats.map(({ server }) => server));
  progress(`${fleet.members.length} processes and ${servers} nats-server(s) are up`);

  const load = openLoad(options, history, fleet, bug);
  const strikes = await strikeAll(options, barred, history, fleet, load, bug);
  history.add({ kind: 'fault', what: 'no more faults' });
  await load.end();
  await fleet.heal();
  history.add({ kind: 'healed' });
  progress('healed; waiting for the answers and for empty queues');
  await load.answered(options.settleMs);
  await comeToRest(options.settleMs, history, fleet, observer);

  const { kept, dead } = await observer.read();
  const { plans } = load;
  const byId = new Map([...plans.values()].map((plan) => [plan.requestId, plan.name]));
  const nameOf = (id: string): string | undefined => byId.get(id);
  for (const letter of dead) {
    const { requestId, stage, unit, samples, deliveries, reason } = letter;
    const request = nameOf(requestId) ?? requestId;
    history.add({ kind: 'dead letter', request, stage, unit, samples, deliveries, reason });
  }
  const story = ledgerStory({ heard: observer.heard, kept }, nameOf);
  const entries = [...story, ...history.entries].sort((a, b) => a.atMs - b.atMs);
  const verdicts = new Map([...verdictsOf(kept)].map(([id, verdict]) => [nameOf(id) ?? id, verdict]));
  const engineCalls = fleet.engine.stats().requests;
  const starts = fleet.members.reduce((sum, member) => sum + member.starts, 0);
  load.close();
  await observer.close();
  await fleet[Symbol.asyncDispose]();

  progress(`${verdicts.size} verdicts; the same requests undisturbed, to compare`);
  const expected = await undisturbed([...plans.values()].map(unhurried));
  const violations = judge({
    entries,
    verdicts,
    undisturbed: expected,
    allowed: (name) => allowanceOf(plans.get(name)!),
    poison: new Set([...plans.values()].flatMap(({ name, isPoison }) => (isPoison ? [name] : []))),
  });
  const seconds = Math.round(pace.durationMs / 1_000);
  const told = {
    seed,
    natsServers: servers,
    natsVersion: observer.version,
    seconds,
    entries,
    plans,
    verdicts,
    dead,
    strikes,
    barred,
    engineCalls,
    starts,
  };
  return { report: reportOf({ ...told, violations }), entries, startMs };
}

type Bug = (node: string, where: string, message: string) => void;

interface Load {
  readonly plans: ReadonlyMap<string, RequestPlan>;
  /** Asks for a request that kills workers; false while the last one is open. */
  poison(): boolean;
  /** Requests begun, and those that are open. */
  counts(): string;
  /** Begins no more. */
  end(): Promise<void>;
  /** Resolves when every caller has its answer, or after `withinMs`, when those that still wait are sent away. */
  answered(withinMs: number): Promise<void>;
  close(): void;
}

function openLoad({ seed, perSecond }: ChaosOptions, history: History, fleet: Fleet, bug: Bug): Load {
  const given = new AbortController();
  // Each open call listens; elsewhere each fault that lasts.
  setMaxListeners(0, given.signal);
  const over = new AbortController();
  const doors = fleet.of('coordinator').map((member) => openDoor(member.name, member.door?.address ?? ''));
  const chance = chanceOf(seed, 'callers');
  const world: CallersWorld = { doors, history, chance, given: given.signal };
  const plans = new Map<string, RequestPlan>();
  const open = new Set<Promise<void>>();
  const numbers = { plain: 0, streamed: 0, poison: 0 };
  let poisonOpen = false;

  const plan = (kind: keyof typeof numbers): RequestPlan => {
    const made = requestOf(seed, numbers[kind]++, kind);
    plans.set(made.name, made);
    return made;
  };
  const begin = (asking: Promise<void>): Promise<void> => {
    const ended: Promise<void> = asking
      .catch((error: unknown) => bug('callers', 'call', String(error)))
      .finally(() => open.delete(ended));
    open.add(ended);
    return ended;
  };
  const pause = (ms: number): Promise<void> => sleep(ms, undefined, { signal: over.signal }).catch(() => undefined);

  const singles = (async () => {
    while (!over.signal.aborted) {
      if (open.size < openMax) void begin(call(plan('plain'), world));
      await pause((1_000 / perSecond) * (0.5 + chance.ratio()));
    }
  })();
  const streamed = (async () => {
    while (!over.signal.aborted) {
      await begin(
        stream(
          Array.from({ length: streamedAtOnce }, () => plan('streamed')),
          world,
        ),
      );
      await pause(500);
    }
  })();

  return {
    plans,
    poison() {
      if (poisonOpen) return false;
      poisonOpen = true;
      void begin(call(plan('poison'), world)).then(() => (poisonOpen = false));
      return true;
    },
    counts: () => `${plans.size} requests begun, ${open.size} open`,
    async end() {
      over.abort();
      await singles;
    },
    async answered(withinMs) {
      const timer = setTimeout(() => given.abort(), withinMs);
      await Promise.all([streamed, ...open]);
      clearTimeout(timer);
    },
    close() {
      for (const { client, hasty } of doors) {
        client.close();
        hasty.close();
      }
    },
  };
}

/** Resolves when the last fault is over. */
async function strikeAll(
  { seed, pace, progress }: ChaosOptions,
  barred: ReadonlyMap<FaultKind, string>,
  history: History,
  fleet: Fleet,
  load: Load,
  bug: Bug,
): Promise<readonly { readonly kind: FaultKind; readonly struck: boolean }[]> {
  const over = new AbortController();
  setMaxListeners(0, over.signal);
  const beganAtMs = Date.now();
  const strikes: { kind: FaultKind; struck: boolean }[] = [];
  const running: Promise<void>[] = [];
  const arena = {
    fleet,
    over: over.signal,
    poison: () => load.poison(),
    // 4: still busy when the grace was over, because what it waited for was away.
    drained: (member: string, how: number | string) => {
      if (how !== 4) bug(member, 'drain', `ended with ${how} when it was told to drain`);
    },
  };
  const say = setInterval(() => {
    const seconds = Math.round((Date.now() - beganAtMs) / 1_000);
    const struck = strikes.filter((each) => each.struck).length;
    progress(`${String(seconds).padStart(5)} s  ${struck} faults struck, ${load.counts()}`);
  }, progressEveryMs);
  try {
    for (const each of scheduleOf(seed, pace, barred)) {
      await sleep(Math.max(0, beganAtMs + each.atMs - Date.now()));
      const struck = strike(each, arena);
      strikes.push({ kind: each.kind, struck: struck !== undefined });
      if (!struck) continue;
      history.add({ kind: 'fault', what: struck.what });
      running.push(struck.done.catch((error: unknown) => bug('fleet', each.kind, String(error))));
    }
    await sleep(Math.max(0, beganAtMs + pace.durationMs - Date.now()));
  } finally {
    clearInterval(say);
    over.abort();
  }
  await Promise.all(running);
  return strikes;
}

/** Waits until nothing accepted is open and nothing is left in the queues, and writes down what is. */
async function comeToRest(withinMs: number, history: History, fleet: Fleet, observer: Observer): Promise<void> {
  const look = async () => {
    const open = await observer.open();
    const left = [...(await observer.queues())];
    const [coordinator] = fleet.of('coordinator');
    if (coordinator?.process) {
      const count = await metric(coordinator.process, 'grm_queue_messages');
      if (count > 0) left.push({ what: 'grm_queue_messages', count });
    }
    return { open, left, isQuiet: open.length === 0 && left.length === 0 };
  };
  const giveUpAtMs = Date.now() + withinMs;
  let seen: Awaited<ReturnType<typeof look>> | undefined;
  let problem = 'nobody looked';
  while (!seen?.isQuiet && Date.now() < giveUpAtMs) {
    // A cluster of nats-servers may still be electing a leader.
    seen = await look().catch((error: unknown) => void (problem = String(error)));
    await sleep(250);
  }
  if (!seen) {
    history.add({ kind: 'rest', settled: false, open: `the queues cannot be read: ${problem}` });
    return;
  }
  for (const { what, count } of seen.left) history.add({ kind: 'held', what, count, max: 0 });
  const open = `${seen.open.length} accepted requests without a verdict: ${seen.open.slice(0, 5).join(', ')}`;
  history.add({ kind: 'rest', settled: seen.open.length === 0, open });
}
