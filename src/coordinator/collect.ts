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
//   C6. Tasks go out with the end that holds then. When a more patient caller has joined since, what they have not brought by their end is
//       asked for again with the new one.
//   C7. A work queue without room keeps what was accepted waiting here: it is sent again at every tick. Only a request of which nothing was sent
//       yet is shed.
//   C8. When a stream was removed or emptied, or no task is left while samples are missing, the record and the tasks are looked after at once.

import { FaultError, fault, type Fault } from '../fault.js';
import { contentChars } from '../grm/query.js';
import type { Sample, ScoredSample } from '../grm/sample.js';
import { reachOf, stopCase } from '../grm/stop.js';
import type { Missing, Verdict } from '../grm/verdict.js';
import { limits } from '../limits.js';
import { gather, missing, startGather, unranked, type Gather, type GatherEvent } from '../work/gather.js';
import { lanePrefix, lanesOf } from '../work/lane.js';
import { planShards, shardSamples } from '../work/plan.js';
import { taskName } from '../work/run-name.js';
import type { MetaResult, RequestRecord, Shard } from '../work/shard.js';
import type { CoordinatorContext } from './context.js';
import { LateShards } from './late.js';
import { Ranking } from './ranking.js';
import { endOf, type Cut, type Run, type StopReason, type TickReason } from './run.js';
import { keepRecord } from './store.js';
import { roomAhead } from './waves.js';

export type Collected =
  | { readonly kind: 'gathered'; readonly gather: Gather; readonly missing?: Missing }
  /** `cancelled`: nobody wants it any more; `abandoned`: this process goes away, another coordinator goes on. */
  | { readonly kind: 'stopped'; readonly why: StopReason; readonly gather: Gather }
  | { readonly kind: 'failed'; readonly fault: Fault; readonly gather: Gather }
  /** Another coordinator was at it too, and its verdict is the stored one. */
  | { readonly kind: 'answered'; readonly verdict: Verdict; readonly gather: Gather };

/** Silent requests look at the ledger ever less often, at the least so many times settings.silenceMs apart. */
const silenceFactorMax = 16;

/**
 * Draws the request's samples (and has them ranked) until all are there, the budget ends, or the run is stopped.
 * @param fresh the record was accepted just now: the ledger cannot hold samples that no worker will repeat
 * @param name of this run, distinct from all others: its tasks carry it
 * @param deadlineAtMs end of the time budget, where no caller says otherwise (run.endsAtMs)
 * @param onLook told how to see what is there before the end; undefined once it is over
 */
export async function collect(
  record: RequestRecord,
  fresh: boolean,
  name: string,
  deadlineAtMs: number,
  run: Run,
  context: CoordinatorContext,
  onLook: (look: (() => Promise<Cut | undefined>) | undefined) => void = () => undefined,
): Promise<Collected> {
  const { ledger, work, clock, dispatcher, events, members, settings } = context;
  const { requestId, plan } = record;
  const account = dispatcher.open(record.tenant, record.class);
  const inline = contentChars(record.content) <= limits.inlineContentCharsMax;
  /** What another content under this id has left, or its workers still store, is in other lanes. */
  const prefix = lanePrefix(record);

  let state = startGather(plan.k, plan.meta, stopCase(requestId, plan, record.content.responses.length));
  /** Shards and samples that this run has asked for, at which look it did last, and whether it is at it. */
  let shardsOut = 0;
  let askedTo = 0;
  let askedAt = 0;
  let asking = true;
  /** Samples that are sent and have not come back, with the end that their task went out with (C6), and publishes of tasks that are under way. */
  const sent = new Map<number, number>();
  let onTheWay = 0;
  /** C7. */
  let isQueued = false;
  const toSendAgain: { readonly task: Shard; readonly under: string }[] = [];
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
    else if (state.kind === 'expired') {
      run.onTimeUp?.();
      finish({ kind: 'gathered', gather: state, missing: whatIsMissing() });
    } else if (state.upTo > askedAt && !asking) draw().catch(fail);
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
  const inTurn = <T>(all: readonly T[], take: (some: readonly T[]) => void): void => {
    if (!state.adaptive) take(all);
    else for (const each of all) take([each]);
  };
  const takeSamples = (all: readonly Sample[]): void => inTurn(all, (samples) => apply({ kind: 'samples', samples }));
  const takeMetas = (all: readonly MetaResult[]): void => inTurn(all, (results) => apply({ kind: 'metas', results }));

  const came = (samples: readonly Sample[]): void => {
    const back = samples.filter(({ index }) => sent.delete(index)).length;
    if (back > 0) account.settle(back);
    late.came(samples.map(({ index }) => index));
    for (const sample of samples) {
      untold.push(sample);
      context.passes?.('sampled');
      if (sample.kind === 'scored' && plan.meta) ranking.send(sample);
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

  /** C6. What goes out now ends with the most patient caller that there is now. */
  const tasksEndAtMs = (): number => Math.max(deadlineAtMs, endOf(run, deadlineAtMs));

  const ranking = new Ranking({
    record,
    context,
    run: name,
    inline,
    wants: (index) => state.kind === 'gathering' && !state.metas.has(index),
    endsAtMs: tasksEndAtMs,
    epoch,
    fail,
  });
  const rankWhatIsLeft = (): void => {
    if (state.meta !== 'wanted') return;
    for (const index of unranked(state)) ranking.send(state.samples.get(index) as ScoredSample);
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
      deadlineAtMs: tasksEndAtMs(),
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
        const endsAtMs = tasksEndAtMs();
        for (const { index } of samples) sent.set(index, endsAtMs);
        const task = { ...shard, samples, deadlineAtMs: endsAtMs, run: taskName(name, shard.shard) };
        late.sent(task);
        send(task, epoch());
      });
    }
  };

  const send = (task: Shard, under: string): void => {
    onTheWay++;
    work.putShards(settings.pool, under, [task]).then((put) => {
      onTheWay--;
      context.passes?.('asked');
      if (put.kind === 'stored') isQueued = true;
      else if (isQueued || !fresh) toSendAgain.push({ task, under });
      else {
        const full = fault('overloaded', 'the work queue is full', { retryAfterMs: 1_000 });
        finish({ kind: 'failed', fault: full, gather: state });
      }
    }, fail);
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
    if (asking || isOnTheWay() || toSendAgain.length > 0 || (await work.countTasks(requestId)) > 0) return replay();
    await replay();
    if (state !== before || state.kind !== 'gathering' || isAsking() || isOnTheWay()) return;
    round++;
    // What still waits at the dispatcher is not lost; what is lost may be what it waits for.
    const lost = missing(state).filter((index) => sent.has(index));
    const out = sent.size;
    sent.clear();
    late.clear();
    // Room for what waits, which may go out at once.
    account.settle(out);
    rankWhatIsLeft();
    ask(lost);
  };
  const isAsking = (): boolean => asking;
  const isOnTheWay = (): boolean => onTheWay + ranking.onTheWay > 0;

  /** C6. What tasks have not brought by their end, they will not bring any more. */
  const goOn = async (): Promise<void> => {
    const now = clock.now();
    const ended = [...sent].flatMap(([index, endsAtMs]) => (endsAtMs <= now ? [index] : []));
    const unrankedEnded = ranking.isOver(now);
    if ((ended.length === 0 && !unrankedEnded) || endOf(run, deadlineAtMs) <= now) return;
    for (const index of ended) sent.delete(index);
    if (unrankedEnded) ranking.beginAnew();
    await replay();
    account.settle(ended.length);
    if (state.kind !== 'gathering') return;
    round++;
    if (unrankedEnded) rankWhatIsLeft();
    ask(missing(state).filter((index) => ended.includes(index)));
  };

  const isOpen = (): boolean => state.kind === 'gathering';
  const onTick = (why: TickReason): void => {
    const now = clock.steadyNow();
    const missed = (error: unknown): void => events.emit('trouble', { where: 'replay', error, requestId });
    if (why === 'idle' || why === 'lost') {
      if (why === 'idle' && now - lastNewsAtMs < settings.silenceMs) return;
      const first = why === 'lost' ? keepRecord(record, isOpen, run.signal, context) : Promise.resolve();
      first.then(askAgain).catch(missed);
      return;
    }
    if (why === 'reconnected' || now - lastNewsAtMs >= quietMs) {
      lastNewsAtMs = now;
      // Long samples are silent for long: each look that finds nothing doubles the time to the next.
      const longestMs = settings.silenceMs * silenceFactorMax;
      const look = why === 'tick' && quietMs >= longestMs ? askAgain : replay;
      quietMs = Math.min(quietMs * 2, longestMs);
      look().catch(missed);
    }
    if (state.kind === 'gathering') goOn().catch(fail);
    for (const { task, under } of toSendAgain.splice(0)) if (task.deadlineAtMs > clock.now()) send(task, under);
    ranking.tick();
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

  /** What is there, after a last look at the ledger; undefined when the end of all is decided. */
  const look = async (): Promise<Cut | undefined> => {
    let endWait: () => void = () => undefined;
    const waited = new Promise<void>((resolve) => (endWait = clock.after(limits.lastLookMsMax, resolve)));
    await Promise.race([replay().catch(() => undefined), waited]);
    endWait();
    if (state.kind !== 'gathering') return undefined;
    return { gather: gather(state, { kind: 'expired' }), missing: whatIsMissing() };
  };

  if (run.signal.aborted) return { kind: 'stopped', why: run.signal.reason as StopReason, gather: state };
  run.signal.addEventListener('abort', onStop);
  let cancelTimer: () => void = () => undefined;
  const awaitEnd = (): void => {
    const endAtMs = endOf(run, deadlineAtMs);
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
      verdict: (verdict) => finish({ kind: 'answered', verdict, gather: state }),
    });
    unfollow = () => following.close();
    onLook(look);
    await draw();
    return await outcome;
  } catch (error) {
    fail(error);
    return await outcome;
  } finally {
    onLook(undefined);
    run.signal.removeEventListener('abort', onStop);
    cancelTimer();
    endTicks();
    unfollow();
    late.clear();
    account.close();
  }
}
