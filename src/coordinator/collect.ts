// Collect: drives one request's pure gather with what happens: notices from the ledger, the clock, the dispatcher's turns.
//
//   C1. Notices may be lost or come twice: silence, a reconnect and the end of the time budget each read the ledger itself.
//   C2. When `collect` resolves, nothing of this request is subscribed, queued at the dispatcher or timed any more.
//   C3. With adaptive k samples are asked for up to the rule's next look, and past it as far as slots are free (waves.ts). When the rule goes on,
//       more of them are; when it ends drawing, what is left is never put in the queue. Callers see what the rule has looked at, so that they
//       see no sample which is not in the verdict.
//   C4. What was asked for and is neither in the queues nor in the ledger is asked for again: another coordinator, which took this one for
//       dead, may have withdrawn it, and died or failed before it was done (promise P1).
//   C5. A shard that is late is asked for once more, elsewhere (late.ts).

import { FaultError, fault, type Fault } from '../fault.js';
import type { Sample } from '../grm/sample.js';
import { reachOf, stopCase } from '../grm/stop.js';
import type { Missing, Verdict } from '../grm/verdict.js';
import { limits } from '../limits.js';
import { gather, missing, startGather, unranked, type Gather, type GatherEvent } from '../work/gather.js';
import { lanePrefix, lanesOf } from '../work/lane.js';
import { planMetaTasks, planShards, shardSamples } from '../work/plan.js';
import { taskName } from '../work/run-name.js';
import type { MetaResult, RequestRecord } from '../work/shard.js';
import type { CoordinatorContext } from './context.js';
import { LateShards } from './late.js';
import { roomAhead } from './waves.js';

export type Collected =
  | { readonly kind: 'gathered'; readonly gather: Gather; readonly missing?: Missing }
  /** `cancelled`: nobody wants it any more; `abandoned`: this process goes away, another coordinator goes on. */
  | { readonly kind: 'stopped'; readonly why: StopReason; readonly gather: Gather }
  | { readonly kind: 'failed'; readonly fault: Fault; readonly gather: Gather }
  /** Another coordinator was at it too, and its verdict is the stored one. */
  | { readonly kind: 'answered'; readonly verdict: Verdict };

export type StopReason = 'cancelled' | 'abandoned';

/** The run that a collection belongs to; `signal.reason` is a StopReason. */
export interface Run {
  /** Distinct for every run of this process. */
  readonly serial: number;
  readonly signal: AbortSignal;
  readonly onSample: (sample: Sample) => void;
  /** Called whenever more samples are asked for, with how many are now. */
  readonly onAsked?: (samples: number) => void;
  /** When the most patient caller wants the answer; it may move away while the run goes on. Infinity without callers. */
  readonly endsAtMs: () => number;
  /** Registers a call for every tick of the shared clock (about one per second) and for every reconnect; returns how to end it. */
  readonly onTick: (tick: (why: 'tick' | 'reconnected') => void) => () => void;
}

/** Silent requests look at the ledger ever less often, at the least so many times settings.silenceMs apart. */
const silenceFactorMax = 16;

/**
 * Draws the request's samples (and has them ranked) until all are there, the budget ends, or the run is stopped.
 * @param fresh the record was accepted just now: the ledger cannot hold samples that no worker will repeat
 * @param name of this run, distinct from all others: its tasks carry it
 * @param deadlineAtMs end of the time budget; patient callers may be fewer (run.endsAtMs)
 */
export async function collect(
  record: RequestRecord,
  fresh: boolean,
  name: string,
  deadlineAtMs: number,
  run: Run,
  context: CoordinatorContext,
): Promise<Collected> {
  const { ledger, work, clock, dispatcher, events, members, settings } = context;
  const { requestId, plan } = record;
  const account = dispatcher.open(record.tenant, record.class);
  const inline = contentChars(record) <= limits.inlineContentCharsMax;
  /** What another content under this id has left, or its workers still store, is in other lanes. */
  const prefix = lanePrefix(record);

  let state = startGather(plan.k, plan.meta, stopCase(requestId, plan, record.content.responses.length));
  /** Shards and samples that this run has asked for, at which look it did last, and whether it is at it. */
  let shardsOut = 0;
  let askedTo = 0;
  let askedAt = 0;
  let asking = true;
  /** Indexes of samples that are sent and have not come back, and publishes of tasks that are under way. */
  const sent = new Set<number>();
  let onTheWay = 0;
  /** Times that all which is missing was asked for anew. */
  let round = 0;
  /** Unique: what a request that was cancelled and comes again asks for, or one that asks again, must not pass for a repeated publish. */
  const epoch = (): string => `${name}-${round}`;
  let lastNewsAtMs = clock.steadyNow();
  let quietMs = settings.silenceMs;
  let metaGoneSinceMs: number | undefined;
  let settled: (collected: Collected) => void = () => undefined;
  const outcome = new Promise<Collected>((resolve) => (settled = resolve));
  const finish = (collected: Collected): void => settled(collected);
  const fail = (error: unknown): void => {
    if (error instanceof FaultError) finish({ kind: 'failed', fault: error.fault, gather: state });
    else {
      events.emit('trouble', { where: 'collect', error, requestId });
      finish({ kind: 'failed', fault: fault('internal', 'the request failed inside the coordinator'), gather: state });
    }
  };

  /** C5. */
  const late = new LateShards({
    requestId,
    context,
    has: (index) => state.samples.has(index),
    put: (shard) => {
      onTheWay++;
      const arrived = (): void => {
        onTheWay--;
      };
      work.putShards(settings.pool, epoch(), [{ ...shard, shard: shardsOut++ }]).then(arrived, arrived);
    },
    fail,
  });

  const apply = (event: GatherEvent): void => {
    const before = state;
    state = gather(state, event);
    const samples = event.kind === 'samples' ? newOf('sample', event.samples, before.samples, state.samples) : [];
    if (event.kind === 'metas') newOf('meta', event.results, before.metas, state.metas);
    if (state === before) return;
    lastNewsAtMs = clock.steadyNow();
    quietMs = settings.silenceMs;
    if (samples.length > 0) came(samples);
    tell();
    if (state.kind === 'decided') finish({ kind: 'gathered', gather: state });
    else if (state.kind === 'expired') finish({ kind: 'gathered', gather: state, missing: whatIsMissing() });
    else if (state.upTo > askedAt && !asking) draw().catch(fail);
  };

  /** Those of `results` that changed something; the others were there, and are told of. */
  const newOf = <T extends { readonly index: number }>(
    stage: 'sample' | 'meta',
    results: readonly T[],
    before: ReadonlyMap<number, T>,
    now: ReadonlyMap<number, T>,
  ): readonly T[] => {
    const fresh = results.filter((result) => !before.has(result.index) && now.get(result.index) === result);
    for (let known = fresh.length; known < results.length; known++) {
      events.emit('result.suppressed', { requestId, stage, where: 'gather' });
    }
    return fresh;
  };

  /** With adaptive k one by one: each may be the one at which drawing ends. */
  const takeSamples = (samples: readonly Sample[]): void => {
    if (!state.adaptive) apply({ kind: 'samples', samples });
    else for (const sample of samples) apply({ kind: 'samples', samples: [sample] });
  };
  const takeMetas = (results: readonly MetaResult[]): void => {
    if (!state.adaptive) apply({ kind: 'metas', results });
    else for (const result of results) apply({ kind: 'metas', results: [result] });
  };

  const came = (samples: readonly Sample[]): void => {
    const back = samples.filter(({ index }) => sent.delete(index)).length;
    if (back > 0) account.settle(back);
    late.came(samples.map(({ index }) => index));
    for (const sample of samples) {
      untold.push(sample);
      context.passes?.('sampled');
      if (sample.kind === 'scored' && plan.meta) rank(sample);
    }
  };

  const whatIsMissing = (): Missing => {
    const unfinished = missing(state).filter((index) => sent.has(index)).length;
    const waiting = missing(state).filter((index) => index < askedTo && !sent.has(index)).length;
    const why = members.outage();
    const notAsked = plan.k - state.samples.size - unfinished - waiting;
    return { notAsked, waiting, unfinished, ...(why !== undefined && { why }) };
  };

  /** C3. When time runs out, all that came is in the verdict. */
  let untold: Sample[] = [];
  const tell = (): void => {
    const isDue = ({ index }: Sample): boolean => index < state.upTo || state.kind === 'expired';
    const due = untold.filter(isDue);
    untold = untold.filter((sample) => !isDue(sample));
    for (const sample of due) run.onSample(sample);
  };

  /** Valid samples go to the meta RM as they come; those of one turn of the event loop travel together. */
  let toRank: Sample[] = [];
  const toRankAgain: Sample[] = [];
  const rank = (sample: Sample): void => {
    toRank.push(sample);
    if (toRank.length > 1) return;
    queueMicrotask(() => {
      const samples = toRank.filter(({ index }) => !state.metas.has(index));
      toRank = [];
      if (state.kind !== 'gathering' || samples.length === 0) return;
      const tasks = planMetaTasks(record, samples, { inline, run: name, deadlineAtMs, nowMs: clock.now() });
      onTheWay++;
      work.putMetaTasks(settings.metaPool, epoch(), tasks).then((put) => {
        onTheWay--;
        context.passes?.('ranking');
        // A full meta queue loses no sample: they are sent again at the next tick, and the vote goes on with the meta rewards there are.
        if (put.kind !== 'full') return;
        toRankAgain.push(...samples);
        events.emit('trouble', { where: 'meta queue', error: new Error('the meta queue is full'), requestId });
      }, fail);
    });
  };

  const widen = (): void => {
    if (!state.adaptive) return;
    const reach = reachOf(state.adaptive.stop, plan.k, state.reach, roomAhead(context));
    state = gather(state, { kind: 'asked', reach });
    run.onAsked?.(reach);
  };

  /** Asks for what is missing and was not asked for. A run that goes on from the ledger reads first what is there of it. */
  const draw = async (): Promise<void> => {
    asking = true;
    widen();
    for (let seen = 0; !fresh && state.kind === 'gathering' && seen < state.reach;) {
      seen = state.reach;
      await replay();
      if (state.reach > seen) widen();
    }
    if (state.kind !== 'gathering') return;
    const wanted = missing(state).filter((index) => index >= askedTo);
    askedTo = state.reach;
    askedAt = state.upTo;
    asking = false;
    ask(wanted);
  };

  const ask = (wanted: readonly number[]): void => {
    const wave = state.adaptive ? wanted.length : plan.k;
    const samplesMax = shardSamples(wave, members.fleet(), settings.shardSamplesMax);
    const nowMs = clock.now();
    const shards = planShards(record, wanted, {
      deadlineAtMs,
      nowMs,
      samplesMax,
      inline,
      run: name,
      firstShard: shardsOut,
    });
    shardsOut += shards.length;
    for (const shard of shards) {
      account.submit(shard.samples.length, () => {
        // What came meanwhile, from an earlier run's shards, is not asked for any more, and stands in nobody's way.
        const samples = shard.samples.filter(({ index }) => !state.samples.has(index));
        account.settle(shard.samples.length - samples.length);
        if (samples.length === 0) return;
        for (const { index } of samples) sent.add(index);
        const task = { ...shard, samples, run: taskName(name, shard.shard) };
        late.sent(task);
        onTheWay++;
        work.putShards(settings.pool, epoch(), [task]).then((put) => {
          onTheWay--;
          context.passes?.('asked');
          if (put.kind === 'full') {
            finish({
              kind: 'failed',
              fault: fault('overloaded', 'the work queue is full', { retryAfterMs: 1_000 }),
              gather: state,
            });
          }
        }, fail);
      });
    }
  };

  /** Reads from the ledger what notices may have missed (C1). Meta rewards go first: a sample that has one is not sent to be ranked again. */
  const replay = async (): Promise<void> => {
    const absent = new Set(missing(state));
    const found = await Promise.all([...lanesOf(record, absent).keys()].map((lane) => ledger.samples(requestId, lane)));
    const samples = found.flatMap(({ entries }) => [...entries.values()].filter(({ index }) => absent.has(index)));
    if (plan.meta) {
      const valid = samples.flatMap(({ kind, index }) => (kind === 'scored' ? [index] : []));
      const lanes = lanesOf(record, [...unranked(state), ...valid]).keys();
      for (const { entries } of await Promise.all([...lanes].map((lane) => ledger.metas(requestId, lane)))) {
        takeMetas([...entries.values()].filter(({ index }) => !state.metas.has(index)));
      }
    }
    takeSamples(samples.filter(({ index }) => !state.samples.has(index)));
  };

  /** C4. The queues are looked at first: a task leaves them only after its results are stored. */
  const askAgain = async (): Promise<void> => {
    const before = state;
    if (asking || onTheWay > 0 || (await work.countTasks(requestId)) > 0) return replay();
    await replay();
    if (state !== before || state.kind !== 'gathering' || isAsking() || onTheWay > 0) return;
    round++;
    // What still waits at the dispatcher is not lost; what is lost may be what it waits for.
    const lost = missing(state).filter((index) => sent.has(index));
    const out = sent.size;
    sent.clear();
    late.clear();
    // Room for what waits, which may go out at once.
    account.settle(out);
    if (state.meta === 'wanted') for (const index of unranked(state)) rank(state.samples.get(index)!);
    ask(lost);
  };
  const isAsking = (): boolean => asking;

  const onTick = (why: 'tick' | 'reconnected'): void => {
    const now = clock.steadyNow();
    if (why === 'reconnected' || now - lastNewsAtMs >= quietMs) {
      lastNewsAtMs = now;
      // Long samples are silent for long: each look that finds nothing doubles the time to the next.
      const longestMs = settings.silenceMs * silenceFactorMax;
      const look = why === 'tick' && quietMs >= longestMs ? askAgain : replay;
      quietMs = Math.min(quietMs * 2, longestMs);
      look().catch((error: unknown) => events.emit('trouble', { where: 'replay', error, requestId }));
    }
    for (const sample of toRankAgain.splice(0)) rank(sample);
    if (state.kind === 'gathering') late.look();
    if (!plan.meta || missing(state).length > 0 || members.metaServing() !== 0) metaGoneSinceMs = undefined;
    else if ((metaGoneSinceMs ??= now) + settings.metaPatienceMs <= now) apply({ kind: 'meta_gone' });
  };

  const onStop = (): void => finish({ kind: 'stopped', why: run.signal.reason as StopReason, gather: state });
  const onBudgetEnd = (): void => {
    const expire = (): void => apply({ kind: 'expired' });
    // Also where the ledger does not answer: what is there is answered with, in time.
    cancelTimer = clock.after(limits.lastLookMsMax, expire);
    replay().then(expire, expire);
  };

  if (run.signal.aborted) return { kind: 'stopped', why: run.signal.reason as StopReason, gather: state };
  run.signal.addEventListener('abort', onStop);
  let cancelTimer: () => void = () => undefined;
  const awaitEnd = (): void => {
    const endAtMs = Math.min(deadlineAtMs, run.endsAtMs());
    if (clock.now() >= endAtMs) onBudgetEnd();
    else cancelTimer = clock.after(endAtMs - clock.now(), awaitEnd);
  };
  awaitEnd();
  const endTicks = run.onTick(onTick);
  let unfollow = (): void => undefined;
  try {
    const following = await ledger.follow(requestId, {
      samples: (samples, lane) => {
        if (lane.startsWith(prefix)) takeSamples(samples);
      },
      metas: (results, lane) => {
        if (lane.startsWith(prefix)) takeMetas(results);
      },
      verdict: (verdict) => finish({ kind: 'answered', verdict }),
    });
    unfollow = () => following.close();
    await draw();
    return await outcome;
  } catch (error) {
    fail(error);
    return await outcome;
  } finally {
    run.signal.removeEventListener('abort', onStop);
    cancelTimer();
    endTicks();
    unfollow();
    late.clear();
    account.close();
  }
}

function contentChars(record: RequestRecord): number {
  const { messages, responses, reference, principles } = record.content;
  let chars = reference?.length ?? 0;
  for (const message of messages) chars += message.content.length;
  for (const response of responses) chars += response.length;
  for (const principle of principles) chars += principle.text.length;
  return chars;
}
