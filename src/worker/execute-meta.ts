// Execute a meta task: one sample to rank, from pull to ack. The rules are those of execute-shard.ts (X1-X3); a sample that cannot be
// ranked gets a failed meta result with the reason, never a number (promise P7).

import type { MetaEngine } from '../engine/engine.js';
import { renderMetaPrompt, type MetaTemplate } from '../grm/prompt.js';
import { limits } from '../limits.js';
import type { Delivery } from '../queue/queue.js';
import type { MetaResult, MetaTask } from '../work/shard.js';
import type { WorkerContext } from './context.js';
import { backoffMs, isLastTry, quarantine } from './settle.js';

export type ReserveMetaEngine = () => { readonly engine: MetaEngine; readonly release: () => void } | undefined;

export async function executeMeta(
  delivery: Delivery<MetaTask>,
  reserve: ReserveMetaEngine,
  template: MetaTemplate,
  context: WorkerContext,
  hurry: AbortSignal,
): Promise<void> {
  const { ledger, library, events, clock, cancellations } = context;
  const { task, deliveries } = delivery;
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
  const { requestId, index } = task;
  if (deliveries > 1) events.emit('delivery.redelivered', { requestId, stage: 'meta', deliveries });

  const drop = (why: 'expired' | 'cancelled' | 'answered'): void => {
    delivery.ack();
    events.emit('delivery.dropped', { requestId, stage: 'meta', why });
  };
  if (cancellations.has(requestId, task.queuedAtMs)) return drop('cancelled');
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
  const content = task.content ?? (await library.content(requestId, task.nonce));
  const sample = task.sample ?? (await ledger.samples(requestId, [index])).get(index);
  if (!content || sample?.kind !== 'scored') return drop('cancelled');
  const { messages, text } = renderMetaPrompt(template, { content, sample, nonce: task.nonce });
  const reserved = reserve();
  if (!reserved) return retry('no meta engine serves');

  const { engine, release } = reserved;
  const watch = cancellations.watch(requestId);
  const startedAtMs = clock.now();
  try {
    const signal = AbortSignal.any([watch.signal, hurry]);
    const result = await engine.rank({ messages, text, deadlineAtMs: task.deadlineAtMs, requestId }, signal);
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
        if (watch.signal.aborted) return drop('cancelled');
        return isLastTry(deliveries) ? await giveUp(result.reason) : retry(result.reason, result.retryAfterMs);
      case 'cancelled':
        if (watch.signal.aborted) return drop('cancelled');
        if (!hurry.aborted) return drop('expired');
        delivery.nak(0);
        events.emit('delivery.retried', {
          requestId,
          stage: 'meta',
          deliveries,
          reason: 'handed back by a draining worker',
        });
    }
  } finally {
    watch.done();
    release();
  }
}
