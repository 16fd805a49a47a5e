// Execute a meta task: samples of one lane to rank, from pull to ack. The rules are those of execute-shard.ts (X1-X5, X9, X10); a sample that cannot be
// ranked gets a failed meta result with the reason, never a number (promise P7).
//
//   M1. A task that came back may hold a sample that kills who ranks it. So its samples are ranked one after the other, each stored before the
//       next begins, and every delivery begins one sample further on: what killed before comes last. What is left when the tries are used up
//       is what kills, and it alone is quarantined (promise P5), as long as no more than limits.deliveriesMax - 2 of them do.

import { setMaxListeners } from 'node:events';
import type { MetaEngine, RankResult } from '../engine/engine.js';
import { renderMetaPrompt, type MetaTemplate } from '../grm/prompt.js';
import type { ScoredSample } from '../grm/sample.js';
import { limits } from '../limits.js';
import { sleep, steadyAt } from '../process/clock.js';
import type { Delivery } from '../queue/queue.js';
import { firstOf } from '../work/lane.js';
import type { MetaResult, MetaTask } from '../work/shard.js';
import { openAppender } from './appender.js';
import type { WorkerContext } from './context.js';
import { holding, settleHeld, type Holding } from './hold.js';
import { ownTokensOf } from './own-tokens.js';
import { backoffMs, giveBack, inTurn, isLastTry, quarantine, setbackOf, unseenMs, untakenMs } from './settle.js';

/** The engine with the most free room, reserved for so many texts; undefined when none serves. */
export type ReserveMetaEngine = (
  texts: number,
) => { readonly engine: MetaEngine; readonly release: () => void } | undefined;

type Retry = Extract<RankResult, { kind: 'retryable' }>;

export async function executeMeta(
  delivery: Delivery<MetaTask>,
  reserve: ReserveMetaEngine,
  template: MetaTemplate,
  context: WorkerContext,
  hurry: AbortSignal,
): Promise<void> {
  const { task } = delivery;
  if (!task) {
    const unit = { requestId: delivery.requestId, stage: 'meta', unit: 0, samples: [] } as const;
    return quarantine(
      delivery,
      unit,
      `the task could not be decoded (${delivery.label})`,
      () => Promise.resolve(),
      context,
    );
  }
  const watch = context.cancellations.watch(task.requestId, task.run, hurry);
  const { requestId, run } = task;
  const isOver = (): boolean => context.clock.now() >= task.deadlineAtMs;
  const held: Holding = { stage: 'meta', requestId, isOver, stop: watch.signal };
  try {
    await execute(delivery, task, reserve, template, context, held, hurry);
  } catch (error) {
    const isCancelled = (): boolean => watch.signal.reason === 'cancelled' || context.cancellations.has(requestId, run);
    await settleHeld(error, delivery, held, isCancelled, () => context.requeue.meta(task), context);
  } finally {
    watch.done();
  }
}

async function execute(
  delivery: Delivery<MetaTask>,
  task: MetaTask,
  reserve: ReserveMetaEngine,
  template: MetaTemplate,
  context: WorkerContext,
  held: Holding,
  hurry: AbortSignal,
): Promise<void> {
  const { stop } = held;
  const { ledger, library, events, clock, cancellations } = context;
  const { deliveries } = delivery;
  const { requestId, lane } = task;
  if (deliveries > 1) events.emit('delivery.redelivered', { requestId, stage: 'meta', deliveries });

  const drop = (why: 'expired' | 'cancelled' | 'answered'): void => {
    delivery.ack();
    events.emit('delivery.dropped', { requestId, stage: 'meta', why });
  };
  // A hurry that came first hides a cancel behind it.
  const isCancelled = (): boolean => stop.reason === 'cancelled' || cancellations.has(requestId, task.run);
  if (isCancelled()) return drop('cancelled');
  if (clock.now() >= task.deadlineAtMs) return drop('expired');

  const log = await ledger.metas(requestId, lane);
  const open = task.items.filter(({ index }) => !log.entries.has(index));
  if (open.length < task.items.length) {
    // Told again: their follower may have missed them.
    const there = task.items.flatMap(({ index }) => log.entries.get(index) ?? []);
    ledger.repeatMetas(requestId, lane, there);
    for (const _ of there) events.emit('result.suppressed', { requestId, stage: 'meta', where: 'before_engine' });
  }
  if (open.length === 0) return drop('answered');

  const queueMs = Math.max(0, clock.now() - task.queuedAtMs);
  const engineMs = new Map<number, number>();
  const appender = openAppender<MetaResult>(
    log,
    holding((known, results) => ledger.addMetas(requestId, lane, known, results), held, context),
    ({ index, model, kind: outcome }, stored) => {
      if (!stored) events.emit('result.suppressed', { requestId, stage: 'meta', where: 'ledger' });
      const took = engineMs.get(index) ?? 0;
      events.emit('meta.finished', { requestId, index, model, outcome, queueMs, engineMs: took });
    },
  );
  const answered = new Set<number>();
  const giveUp = (reason: string): Promise<void> => {
    const left = open.map(({ index }) => index).filter((index) => !answered.has(index));
    const unit = { requestId, stage: 'meta', unit: firstOf(task), samples: left } as const;
    const answer = async (): Promise<void> => {
      for (const index of left) {
        appender.add({ kind: 'failed', requestId, index, model: '', worker: context.nodeId, failure: reason });
      }
      await appender.flushed();
    };
    return quarantine(delivery, unit, reason, answer, context);
  };
  if (deliveries > limits.deliveriesMax) return giveUp(`${deliveries - 1} deliveries and none was finished`);

  const retry = (reason: string, afterMs?: number): void => {
    delivery.nak(backoffMs(deliveries, context.random, afterMs));
    events.emit('delivery.retried', { requestId, stage: 'meta', deliveries, reason });
  };
  const back = async (reason: string, pauseMs: number): Promise<void> => {
    events.emit('delivery.retried', { requestId, stage: 'meta', deliveries, reason });
    await sleep(clock, pauseMs, stop);
    if (isCancelled()) return drop('cancelled');
    await giveBack(delivery, () => context.requeue.meta(task));
  };
  const content = task.content ?? (await library.content(requestId, task.nonce));
  const big = open.some(({ sample }) => sample === undefined);
  const stored = big ? (await ledger.samples(requestId, lane)).entries : undefined;
  const todo = open.flatMap(({ index, sample = stored?.get(index) }) => (sample?.kind === 'scored' ? [sample] : []));
  // X10: of what is left, its sample is not there yet, or it has no scores to rank.
  const isUnseen = !content || open.some(({ index, sample }) => sample === undefined && !stored?.has(index));
  const lookAgain = (): void =>
    isLastTry(deliveries)
      ? drop('cancelled')
      : retry('its content or a sample is not in the ledger', unseenMs(deliveries));
  if (!content || todo.length === 0) return isUnseen ? lookAgain() : drop('cancelled');
  const cameBack = deliveries > 1;
  const reserved = reserve(cameBack ? 1 : todo.length);
  if (!reserved) return back('no meta engine serves', untakenMs(context.random));

  const { engine, release } = reserved;
  const startedAtMs = clock.steadyNow();
  const failed: Retry[] = [];
  let cancelled = 0;
  const ownTokens = ownTokensOf(engine);
  const rank = async (sample: ScoredSample): Promise<void> => {
    const { index } = sample;
    const { messages, text } = renderMetaPrompt(template, { content, sample, nonce: task.nonce, ownTokens });
    const job = { messages, text, deadlineAtMs: steadyAt(clock, task.deadlineAtMs), requestId };
    const result = await engine.rank(job, stop);
    if (result.kind === 'retryable') failed.push(result);
    else if (result.kind === 'cancelled') cancelled++;
    else {
      answered.add(index);
      engineMs.set(index, clock.steadyNow() - startedAtMs);
      const from = { model: engine.model, ...(engine.judgeId !== undefined && { judge: engine.judgeId }) };
      const base = { requestId, index, ...from, worker: context.nodeId };
      if (result.kind === 'logit') appender.add({ kind: 'ranked', ...base, metaReward: result.metaReward });
      else appender.add({ kind: 'failed', ...base, failure: result.reason });
    }
  };
  // Each of them listens to the same signal.
  if (todo.length > 1) setMaxListeners(0, stop);
  try {
    if (cameBack) {
      for (const sample of inTurn(todo, deliveries)) {
        await rank(sample);
        await appender.flushed();
      }
    } else await Promise.all(todo.map(rank));
  } finally {
    release();
  }
  await appender.flushed();

  // X2: settle by the worst that happened.
  if (failed.length === 0 && cancelled === 0) return isUnseen ? lookAgain() : delivery.ack();
  if (isCancelled()) return drop('cancelled');
  if (clock.now() >= task.deadlineAtMs) return drop('expired');
  const setback = setbackOf(failed, hurry.aborted, context.random);
  if (setback.kind === 'untaken') return back(setback.reason, setback.pauseMs);
  return isLastTry(deliveries) ? giveUp(setback.reason) : retry(setback.reason, setback.retryAfterMs);
}
