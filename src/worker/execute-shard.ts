// Execute a shard: one delivery from pull to ack.
//
//   X1. The ledger is looked at before an engine is called: what is stored is never paid for again (promise P2), whatever a restarted server redelivers.
//   X2. The delivery is acked only after the last result is stored.
//   X3. A shard that failed on its last delivery, or whose worker died on it so often, is quarantined and answered with invalid samples (promise P5).
//   X4. All results of a shard go to its lane; what another content left under this id is in other lanes (work/lane.ts).
//   X5. A try that no engine took (it is away or full) and a hand-back by a draining worker do not count against the shard.
//   X6. A hedge (work/run-name.ts) is drawn by another worker than the one that is at its original, which passes it on, and adds a result or
//       nothing: it is tried once, is not handed back and quarantines nothing. One that comes for the second time may have killed a worker.
//   X7. Samples that an engine failed, and not because of what they are, are tried at once at another engine of this worker, where there is
//       one with room for them; what fails there too goes back to the queue. On the first delivery alone: a shard that came back may be what
//       kills engines (promise P5).
//   X8. A shard that came back is drawn order by order, each stored before the next, and each delivery begins one order further on: where one of
//       its prompts kills, that one is lost alone (promise P5).
//   X9. What the queue refuses to take or to tell (a full stream, one that is gone, NATS away) is no failure of the shard: hold.ts.
//   X10. Content that the ledger does not show is looked for again: a replica may lag. Only a notice, or every delivery in vain, tells that nobody
//       waits for it any more.

import { setMaxListeners } from 'node:events';
import type { DrawJob, DrawResult, Engine } from '../engine/engine.js';
import { renderPrompt } from '../grm/prompt.js';
import type { Sample } from '../grm/sample.js';
import { limits } from '../limits.js';
import { sleep, steadyAt } from '../process/clock.js';
import { classes } from '../grm/query.js';
import type { Delivery } from '../queue/queue.js';
import { byOrder } from '../work/plan.js';
import { hedgeName, isHedge, originalOf, passesOf } from '../work/run-name.js';
import type { SampleSpec, Shard } from '../work/shard.js';
import { openAppender, type Appender } from './appender.js';
import type { WorkerContext } from './context.js';
import { holding, settleHeld, type Holding } from './hold.js';
import { ownTokensOf } from './own-tokens.js';
import { deadSample, sampleOf } from './sample.js';
import { backoffMs, giveBack, inTurn, isLastTry, quarantine, setbackOf, unseenMs, untakenMs } from './settle.js';

/**
 * The engine with the most free room, reserved for so many samples; with `avoid` another one than that, and only one that has room for all
 * of them. Undefined when there is none.
 */
export type ReserveEngine = (samples: number, avoid?: Engine) => ReservedEngine | undefined;

interface ReservedEngine {
  readonly engine: Engine;
  /** Gives back what is left. */
  readonly release: () => void;
  /** Gives back one of them. */
  readonly free: () => void;
}

/** X6: the pause before a hedge is passed on, so that it does not run in circles. */
const passOnMs = 300;

type Retry = Extract<DrawResult, { kind: 'retryable' }>;

export async function executeShard(
  delivery: Delivery<Shard>,
  reserve: ReserveEngine,
  context: WorkerContext,
  hurry: AbortSignal,
  free: () => void = () => undefined,
): Promise<void> {
  const { task: shard } = delivery;
  if (!shard) return quarantineUnreadable(delivery, context);
  // From here on: a notice that comes while the shard is looked up must not be missed.
  const watch = context.cancellations.watch(shard.requestId, shard.run, hurry, delivery.deliveries);
  const { requestId, run } = shard;
  const isOver = (): boolean => context.clock.now() >= shard.deadlineAtMs;
  const held: Holding = { stage: 'sample', requestId, isOver, stop: watch.signal };
  try {
    await execute(delivery, shard, reserve, context, held, hurry, free);
  } catch (error) {
    const isCancelled = (): boolean => watch.signal.reason === 'cancelled' || context.cancellations.has(requestId, run);
    const requeue = isHedge(run) ? undefined : () => context.requeue.shard(shard);
    await settleHeld(error, delivery, held, isCancelled, requeue, context);
  } finally {
    watch.done();
  }
}

async function execute(
  delivery: Delivery<Shard>,
  shard: Shard,
  reserve: ReserveEngine,
  context: WorkerContext,
  held: Holding,
  hurry: AbortSignal,
  free: () => void,
): Promise<void> {
  const { stop } = held;
  const { ledger, library, events, clock, cancellations } = context;
  const { deliveries } = delivery;
  const { requestId } = shard;
  if (deliveries > 1) events.emit('delivery.redelivered', { requestId, stage: 'sample', deliveries });

  // Nobody waits for it any more.
  const drop = (why: 'expired' | 'cancelled' | 'answered' | 'hedge_failed'): void => {
    delivery.ack();
    events.emit('delivery.dropped', { requestId, stage: 'sample', why });
  };
  // A hurry that came first hides a cancel behind it.
  const isCancelled = (): boolean => stop.reason === 'cancelled' || cancellations.has(requestId, shard.run);
  if (isCancelled()) return drop('cancelled');
  if (clock.now() >= shard.deadlineAtMs) return drop('expired');

  // X6.
  const isSecond = isHedge(shard.run);
  if (isSecond && deliveries > 1) return drop('hedge_failed');
  if (isSecond && cancellations.deliveriesOf(requestId, originalOf(shard.run)) > 0) {
    if (passesOf(shard.run) >= limits.hedgePassesMax) return drop('hedge_failed');
    await sleep(clock, passOnMs, stop);
    if (isCancelled()) return drop('cancelled');
    const { kind } = await context.requeue.shard({ ...shard, run: hedgeName(shard.run) });
    if (kind !== 'stored') return drop('hedge_failed');
    return delivery.ack();
  }

  const log = await ledger.samples(requestId, shard.lane);
  if (isCancelled()) return drop('cancelled');
  const todo = shard.samples.filter(({ index }) => !log.entries.has(index));
  if (todo.length < shard.samples.length) {
    // Told again: their follower may have missed them.
    const there = shard.samples.flatMap(({ index }) => log.entries.get(index) ?? []);
    ledger.repeatSamples(requestId, shard.lane, there);
    for (const _ of there) events.emit('result.suppressed', { requestId, stage: 'sample', where: 'before_engine' });
  }
  if (todo.length === 0) return drop('answered');
  const appender = openAppender<Sample>(
    log,
    holding((known, samples) => ledger.addSamples(requestId, shard.lane, known, samples), held, context),
    (sample, stored) => {
      if (isSecond && stored) events.emit('hedge.won', { requestId, index: sample.index });
      if (!stored) events.emit('result.suppressed', { requestId, stage: 'sample', where: 'ledger' });
      emitFinished(shard, sample, context);
    },
  );
  if (deliveries > limits.deliveriesMax)
    return giveUp(delivery, shard, todo, `${deliveries - 1} deliveries and none was finished`, appender, context);

  const retry = (reason: string, afterMs?: number): void => {
    if (isSecond) return drop('hedge_failed');
    delivery.nak(backoffMs(deliveries, context.random, afterMs));
    events.emit('delivery.retried', { requestId, stage: 'sample', deliveries, reason });
  };
  const back = async (reason: string, pauseMs: number): Promise<void> => {
    if (isSecond) return drop('hedge_failed');
    events.emit('delivery.retried', { requestId, stage: 'sample', deliveries, reason });
    await sleep(clock, pauseMs, stop);
    if (isCancelled()) return drop('cancelled');
    await giveBack(delivery, () => context.requeue.shard(shard));
  };
  const content = shard.content ?? (await library.content(requestId, shard.nonce));
  // X10.
  if (!content)
    return isLastTry(deliveries) ? drop('cancelled') : retry('its content is not in the ledger', unseenMs(deliveries));
  const template = await library.template(shard.templateHash);
  if (!template) {
    const reason = `template ${shard.templateHash} is not in the cluster`;
    return isLastTry(deliveries) ? giveUp(delivery, shard, todo, reason, appender, context) : retry(reason);
  }
  const reserved = reserve(todo.length);
  if (!reserved) return back('no engine serves', untakenMs(context.random));

  // Draw; each sample is parsed and stored as it finishes.
  const queueMs = Math.max(0, clock.now() - shard.queuedAtMs);
  const answered = new Set<number>();
  let failed: Retry[] = [];
  let cancelled = 0;
  const onResult = (result: DrawResult, { engine, free: freeSeat }: ReservedEngine): void => {
    if (result.kind === 'retryable') failed.push(result);
    else if (result.kind === 'cancelled') cancelled++;
    else {
      answered.add(result.index);
      freeSeat();
      free();
      appender.add(sampleOf(result, { shard, worker: context.nodeId, engine, queueMs, reasoning: context.reasoning }));
    }
  };
  const job: Omit<DrawJob, 'messages' | 'samples' | 'scoreCount'> = {
    temperature: shard.temperature,
    topP: shard.topP,
    maxTokens: shard.maxTokens,
    deadlineAtMs: steadyAt(clock, shard.deadlineAtMs),
    priority: classes.indexOf(shard.class),
    requestId,
  };
  /** Samples of one order have one prompt; all prompts of a shard go to one engine, which finds their common beginning. */
  const draw = async (from: ReservedEngine, samples: readonly SampleSpec[]): Promise<void> => {
    const ownTokens = ownTokensOf(from.engine);
    const drawGroup = (group: readonly SampleSpec[]): Promise<void> => {
      const [{ permutation }] = group as [SampleSpec];
      const messages = renderPrompt(template, { content, permutation, nonce: shard.nonce, ownTokens });
      const all = { ...job, messages, samples: group, scoreCount: permutation.length };
      return from.engine.draw(all, (result) => onResult(result, from), stop);
    };
    // Each of them listens to the same signal.
    if (samples.length > 1) setMaxListeners(0, stop);
    const groups = byOrder(samples);
    try {
      if (deliveries > 1) {
        for (const group of inTurn(groups, deliveries)) {
          await drawGroup(group);
          await appender.flushed();
        }
      } else await Promise.all(groups.map(drawGroup));
    } finally {
      from.release();
    }
  };
  await draw(reserved, todo);
  // X7.
  const again = new Set(failed.map(({ index }) => index));
  const mayFailOver = again.size > 0 && deliveries === 1 && !stop.aborted && clock.now() < shard.deadlineAtMs;
  const other = mayFailOver ? reserve(again.size, reserved.engine) : undefined;
  if (other) {
    const firstFailed = failed;
    failed = [];
    events.emit('sample.failed_over', { requestId, samples: again.size, reason: firstFailed[0]!.reason });
    await draw(
      other,
      todo.filter(({ index }) => again.has(index)),
    );
    // Where the other one took nothing, the first one's failure stands: it counts (X5).
    failed = failed.map((each) => (each.untaken ? firstFailed.find(({ index }) => index === each.index)! : each));
  }
  await appender.flushed();

  // X2: settle by the worst that happened.
  if (failed.length === 0 && cancelled === 0) return delivery.ack();
  if (isCancelled()) return drop('cancelled');
  if (clock.now() >= shard.deadlineAtMs) return drop('expired');
  const setback = setbackOf(failed, hurry.aborted, context.random);
  if (setback.kind === 'untaken') return back(setback.reason, setback.pauseMs);
  if (!isLastTry(deliveries)) return retry(setback.reason, setback.retryAfterMs);
  const left = todo.filter((each) => !answered.has(each.index));
  return giveUp(delivery, shard, left, setback.reason, appender, context);
}

async function giveUp(
  delivery: Delivery<Shard>,
  shard: Shard,
  left: readonly SampleSpec[],
  reason: string,
  appender: Appender<Sample>,
  context: WorkerContext,
): Promise<void> {
  const unit = {
    requestId: shard.requestId,
    stage: 'sample',
    unit: shard.shard,
    samples: left.map(({ index }) => index),
  } as const;
  await quarantine(
    delivery,
    unit,
    reason,
    async () => {
      const queueMs = Math.max(0, context.clock.now() - shard.queuedAtMs);
      for (const { index } of left) appender.add(deadSample(shard, index, reason, context.nodeId, queueMs));
      await appender.flushed();
    },
    context,
  );
}

/** Bytes that are no shard: they name no samples, so only the history can be kept. */
async function quarantineUnreadable(delivery: Delivery<Shard>, context: WorkerContext): Promise<void> {
  const unit = { requestId: delivery.requestId, stage: 'sample', unit: 0, samples: [] } as const;
  await quarantine(
    delivery,
    unit,
    `the task could not be decoded (${delivery.label})`,
    () => Promise.resolve(),
    context,
  );
}

function emitFinished(shard: Shard, sample: Sample, context: WorkerContext): void {
  context.events.emit('sample.finished', {
    requestId: shard.requestId,
    index: sample.index,
    class: shard.class,
    model: sample.model,
    engine: sample.engine,
    outcome: sample.kind === 'scored' ? 'scored' : sample.reason,
    usage: sample.usage,
    queueMs: sample.queueMs,
    engineMs: sample.engineMs,
  });
}
