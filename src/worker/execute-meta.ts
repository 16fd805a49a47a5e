// Execute a meta task: one sample to rank, from pull to ack. The rules are those of execute-shard.ts (X1-X3); a sample that cannot be
// ranked gets a failed meta result with the reason, never a number (promise P7).

import type { MetaEngine, RankResult } from '../engine/engine.js';
import { renderMetaPrompt, type MetaTemplate } from '../grm/prompt.js';
import { limits } from '../limits.js';
import { sleep } from '../process/clock.js';
import type { Delivery } from '../queue/queue.js';
import type { MetaResult, MetaTask } from '../work/shard.js';
import type { WorkerContext } from './context.js';
import { backoffMs, giveBack, isLastTry, quarantine, untakenMs } from './settle.js';

export type ReserveMetaEngine = () => { readonly engine: MetaEngine; readonly release: () => void } | undefined;

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
  try {
    await execute(delivery, task, reserve, template, context, watch.signal, hurry);
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
  stop: AbortSignal,
  hurry: AbortSignal,
): Promise<void> {
  const { ledger, library, events, clock, cancellations } = context;
  const { deliveries } = delivery;
  const { requestId, index } = task;
  if (deliveries > 1) events.emit('delivery.redelivered', { requestId, stage: 'meta', deliveries });

  const drop = (why: 'expired' | 'cancelled' | 'answered'): void => {
    delivery.ack();
    events.emit('delivery.dropped', { requestId, stage: 'meta', why });
  };
  // A hurry that came first hides a cancel behind it.
  const isCancelled = (): boolean => stop.reason === 'cancelled' || cancellations.has(requestId, task.run);
  if (isCancelled()) return drop('cancelled');
  if (clock.now() >= task.deadlineAtMs) return drop('expired');

  const there = (await ledger.metas(requestId, [index])).get(index);
  if (there) {
    ledger.repeatMeta(there);
    events.emit('result.suppressed', { requestId, stage: 'meta', where: 'before_engine' });
    return drop('answered');
  }

  const queueMs = clock.now() - task.queuedAtMs;
  const answer = async (result: MetaResult, engineMs: number): Promise<void> => {
    const put = await ledger.putMeta(result);
    if (put === 'exists') events.emit('result.suppressed', { requestId, stage: 'meta', where: 'ledger' });
    events.emit('meta.finished', { requestId, index, model: result.model, outcome: result.kind, queueMs, engineMs });
  };
  const giveUp = (reason: string): Promise<void> => {
    const failed: MetaResult = { kind: 'failed', requestId, index, model: '', worker: context.nodeId, failure: reason };
    return quarantine(
      delivery,
      { requestId, stage: 'meta', unit: index, samples: [index] },
      reason,
      () => answer(failed, 0),
      context,
    );
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
    await giveBack(delivery, () => context.requeue.meta(task), context);
  };
  const content = task.content ?? (await library.content(requestId, task.nonce));
  const sample = task.sample ?? (await ledger.samples(requestId, [index])).get(index);
  if (!content || sample?.kind !== 'scored') return drop('cancelled');
  const { messages, text } = renderMetaPrompt(template, { content, sample, nonce: task.nonce });
  const reserved = reserve();
  if (!reserved) return back('no meta engine serves', untakenMs(context.random));

  const { engine, release } = reserved;
  const startedAtMs = clock.now();
  let result: RankResult;
  try {
    const job = { messages, text, deadlineAtMs: task.deadlineAtMs, requestId };
    result = await engine.rank(job, stop);
  } finally {
    release();
  }
  const base = { requestId, index, model: engine.model, worker: context.nodeId };
  switch (result.kind) {
    case 'logit':
      await answer({ kind: 'ranked', ...base, metaReward: result.metaReward }, clock.now() - startedAtMs);
      delivery.ack();
      return;
    case 'terminal':
      await answer({ kind: 'failed', ...base, failure: result.reason }, clock.now() - startedAtMs);
      delivery.ack();
      return;
    case 'retryable':
    case 'cancelled':
      break;
  }
  if (isCancelled()) return drop('cancelled');
  if (clock.now() >= task.deadlineAtMs) return drop('expired');
  if (result.kind === 'cancelled' && hurry.aborted) return back('handed back by a draining worker', 0);
  // Neither we nor the deadline stopped it: its engine was closed while it ran.
  const failed = result.kind === 'retryable' ? result : { reason: 'the meta engine was closed while it ranked' };
  if ('untaken' in failed) return back(failed.reason, untakenMs(context.random, failed.retryAfterMs));
  const afterMs = 'retryAfterMs' in failed ? failed.retryAfterMs : undefined;
  return isLastTry(deliveries) ? giveUp(failed.reason) : retry(failed.reason, afterMs);
}
