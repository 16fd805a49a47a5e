// Pool judges: which models judge in a pool, as its workers' leases tell. It is part of what tells requests apart, so it must not change
// because workers come and go.
//
//   P1. A pool without workers keeps the models that it had, also for a coordinator that starts meanwhile: they are kept in NATS.
//   P2. Models that appear where none of those before is left take their place at once: the pool was changed.
//   P3. Where some of those before still serve, one that is absent stays for limits.judgeAwayMs, and for as long as an engine of the pool
//       loads: a restart of one worker of several does not change the judge.
//   P4. What was never known is empty. No engine is guessed from the configuration.

import { limits } from '../limits.js';
import type { Events } from '../observe/events.js';
import { sleep, type Clock } from '../process/clock.js';
import type { ControlPlane } from '../queue/queue.js';
import { ActorState } from '../wire/gen/grm/v1/cluster.js';
import type { JudgeModel } from '../wire/gen/grm/v1/judgement.js';
import { KeptJudge } from '../wire/gen/grm/work/v1/work.js';
import type { NodeInfo } from './lease.js';
import type { Registry } from './registry.js';

export interface Pool {
  readonly role: string;
  readonly pool: string;
}

export interface PoolJudges {
  /** By id. */
  models(of: Pool): readonly JudgeModel[];
  close(): Promise<void>;
}

export interface PoolJudgesOptions {
  readonly registry: Pick<Registry, 'nodes' | 'onChange'>;
  readonly control: Pick<ControlPlane, 'keep' | 'kept'>;
  readonly clock: Clock;
  readonly events: Events;
  readonly pools: readonly Pool[];
}

/** What leases tell of a pool now. */
export interface Seen {
  readonly models: readonly JudgeModel[];
  /** Some engine is about to serve: what it is will be known then. */
  readonly loading: boolean;
}

/** Models with the time at which each was last seen, by the steady clock. */
export type Known = ReadonlyMap<string, { readonly model: JudgeModel; readonly atMs: number }>;

/** Resolves when what was kept is read. One that cannot be read is trouble, and unknown. */
export async function openPoolJudges(options: PoolJudgesOptions): Promise<PoolJudges> {
  const { registry, control, clock, events, pools } = options;
  const closing = new AbortController();
  const known = new Map<string, Known>();
  const sorted = new Map<string, readonly JudgeModel[]>();
  const trouble = (what: string, error: unknown): void =>
    events.emit('trouble', { where: `pool judges: ${what}`, error });

  const set = (name: string, now: Known): boolean => {
    known.set(name, now);
    const models = [...now.values()].map(({ model }) => model).sort((a, b) => (a.id < b.id ? -1 : 1));
    const changed = print(models) !== print(sorted.get(name) ?? []);
    if (changed) sorted.set(name, models);
    return changed;
  };
  const look = (): void => {
    for (const pool of pools) {
      const name = nameOf(pool);
      const next = nextKnown(known.get(name) ?? new Map(), seenIn(registry.nodes(), pool), clock.steadyNow());
      if (!set(name, next)) continue;
      const body = KeptJudge.encode({ models: [...models(pool)] }).finish();
      control.keep(name, body).catch((error: unknown) => trouble(`${name} not kept`, error));
    }
  };
  const models = (of: Pool): readonly JudgeModel[] => sorted.get(nameOf(of)) ?? [];

  for (const pool of pools) {
    const name = nameOf(pool);
    try {
      const kept = await control.kept(name);
      const before = kept ? KeptJudge.decode(kept).models : [];
      set(name, new Map(before.map((model) => [model.id, { model, atMs: clock.steadyNow() }])));
    } catch (error) {
      trouble(`${name} not read`, error);
    }
  }
  look();
  const unhear = registry.onChange(look);
  const ageing = (async () => {
    for (;;) {
      await sleep(clock, limits.heartbeatMs, closing.signal);
      if (closing.signal.aborted) return;
      look();
    }
  })();
  return {
    models,
    async close() {
      unhear();
      closing.abort();
      await ageing;
    },
  };
}

/** P1-P3. */
export function nextKnown(known: Known, { models, loading }: Seen, nowMs: number): Known {
  if (models.length === 0) return known;
  const seen = new Map(models.map((model) => [model.id, { model, atMs: nowMs }]));
  if (![...seen.keys()].some((id) => known.has(id))) return seen;
  for (const [id, each] of known) {
    if (seen.has(id)) continue;
    if (loading) seen.set(id, { ...each, atMs: nowMs });
    else if (nowMs - each.atMs < limits.judgeAwayMs) seen.set(id, each);
  }
  return seen;
}

function seenIn(nodes: readonly NodeInfo[], { role, pool }: Pool): Seen {
  const engines = nodes.flatMap(({ node }) => (node.role === role && node.pool === pool ? node.actors : []));
  const models = engines.flatMap(({ judge, model }) => (judge === '' ? [] : [{ id: judge, model }]));
  return { models, loading: engines.some(({ judge, state }) => judge === '' && mayServe.has(state)) };
}

const mayServe: ReadonlySet<ActorState> = new Set([ActorState.PENDING, ActorState.STARTING, ActorState.RESTARTING]);

function nameOf({ role, pool }: Pool): string {
  return `judge-${role}-${pool}`;
}

function print(models: readonly JudgeModel[]): string {
  return models.map(({ id, model }) => `${id} ${model}`).join('\n');
}
