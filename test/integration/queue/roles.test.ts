// Everything that each role asks of the queue, as that role's user of deploy/nats/nats-server.conf: nothing of it is refused.
// What is refused, and whole processes: test/e2e/nats-roles.test.ts.

import { join } from 'node:path';
import { expect, test } from 'vitest';
import { broadcastCancel, listenCancel } from '../../../src/actor/handle.js';
import { packageRoot } from '../../../src/process/version.js';
import { openQueue, type QueueOptions } from '../../../src/queue/jetstream.js';
import type { Delivery, Puller, QueueSystem } from '../../../src/queue/queue.js';
import { startNats } from '../../support/nats.js';
import { until } from '../../support/processes.js';
import { queueOptions } from '../../support/queue-options.js';
import {
  aDeadLetter,
  aMetaResult,
  aMetaTask,
  anInvalidSample,
  aRecord,
  aSample,
  aShard,
  aVerdict,
  freshId,
  someContent,
} from '../../support/work-values.js';
import { metasOf, ownLane, putMeta, putSample, samplesOf } from '../../support/lanes.js';

const never = new AbortController().signal;

async function next<T>(puller: Puller<T>): Promise<Delivery<T>> {
  for (let tries = 0; tries < 200; tries += 1) {
    const [delivery] = await puller.pull(1, never);
    if (delivery) return delivery;
  }
  throw new Error('no delivery came');
}

test('the users of the shipped file may do all that their roles do', async () => {
  await using nats = await startNats({
    file: join(packageRoot, 'deploy', 'nats', 'nats-server.conf'),
    env: {
      GRM_NATS_COORDINATOR_PASSWORD: 'one',
      GRM_NATS_WORKER_PASSWORD: 'two',
      GRM_NATS_META_PASSWORD: 'three',
      GRM_NATS_OPERATOR_PASSWORD: '"4, four"',
    },
  });
  const denied: string[] = [];
  const open = (user: string, password: string, more: Partial<QueueOptions>): Promise<QueueSystem> =>
    openQueue(
      queueOptions(nats, {
        user,
        password,
        name: user,
        topologyWaitMs: 60_000,
        ackWaitMs: 60_000,
        onEvent: (event) => {
          if (event.kind === 'denied') denied.push(`${user}: ${event.operation} ${event.subject}`);
        },
        ...more,
      }),
    );
  const coordinator = await open('coordinator', 'one', { own: true });
  const use = { own: false, looksAt: 'consumers' } as const;
  const worker = await open('grm-worker', 'two', { ...use, pools: { grm: ['grm'], meta: [] } });
  const meta = await open('meta-worker', 'three', { ...use, pools: { grm: [], meta: ['meta'] } });
  const operator = await open('operator', '4, four', { own: false, name: 'doctor' });

  // A request whose content is too big for a message, from acceptance to verdict.
  const id = freshId();
  const hash = 'f'.repeat(64);
  const content = { ...someContent, responses: ['x'.repeat(900_000), 'b'] };
  await coordinator.ledger.putTemplate(hash, 'a template');
  expect(await coordinator.ledger.accept(aRecord(id, { content }))).toEqual({ kind: 'new' });
  const heard: string[] = [];
  const following = await coordinator.ledger.follow(id, {
    samples: (those) => void heard.push(...those.map(({ index }) => `sample ${index}`)),
    metas: (those) => void heard.push(...those.map(({ index }) => `meta ${index}`)),
    verdict: () => void heard.push('verdict'),
  });
  await coordinator.work.putShards('grm', 'e', [aShard(id, 0)]);
  const shards = await worker.work.pullShards('grm');
  const first = await next(shards);
  expect(first.task?.requestId).toBe(id);
  first.working();
  await worker.work.putShards('grm', 'back', [aShard(id, 1)]);
  first.ack();
  const second = await next(shards);
  expect(await samplesOf(worker.ledger, id, [0, 1])).toEqual(new Map());
  expect((await worker.ledger.record(id))?.content).toEqual(content);
  expect(await worker.ledger.template(hash)).toBe('a template');
  expect(await putSample(worker.ledger, id, aSample(0))).toBe('stored');
  expect(await putSample(worker.ledger, id, aSample(0))).toBe('exists');
  worker.ledger.repeatSamples(id, ownLane(0), [aSample(0)]);
  await worker.dead.put(aDeadLetter(id, 1, { stage: 'sample' }));
  second.term();
  await coordinator.work.putMetaTasks('meta', 'e', [aMetaTask(id, 0)]);
  const tasks = await meta.work.pullMetaTasks('meta');
  const task = await next(tasks);
  expect((await meta.ledger.record(id))?.content).toEqual(content);
  expect((await samplesOf(meta.ledger, id, [0])).size).toBe(1);
  expect(await putMeta(meta.ledger, aMetaResult(id, 0))).toBe('stored');
  expect((await metasOf(meta.ledger, id, [0])).size).toBe(1);
  meta.ledger.repeatMetas(id, ownLane(0), [aMetaResult(id, 0)]);
  await meta.work.putMetaTasks('meta', 'back', [aMetaTask(id, 1)]);
  await meta.dead.put(aDeadLetter(id, 0, { stage: 'meta' }));
  task.ack();
  expect(await coordinator.ledger.putVerdict(aVerdict(id))).toBe('stored');
  await until(() => heard.includes('verdict'), 'the verdict is heard');
  expect(heard).toEqual(expect.arrayContaining(['sample 0', 'meta 0', 'verdict']));
  following.close();

  // Leases, orders, words to all.
  for (const [queue, name] of [
    [coordinator, 'coordinator-0a'],
    [worker, 'grm-worker-0b'],
    [meta, 'meta-worker-0c'],
  ] as const) {
    await queue.control.renewLease(name, Buffer.from(name));
    await queue.control.serve(name, (body) => Promise.resolve(body));
    expect(new TextDecoder().decode(await coordinator.control.ask(name, Buffer.from('x')))).toBe('x');
  }
  const names = (await coordinator.control.leases()).map(({ name }) => name);
  expect(names.sort()).toEqual(['coordinator-0a', 'grm-worker-0b', 'meta-worker-0c']);
  await worker.control.dropLease('grm-worker-0b');
  const words: string[] = [];
  await listenCancel(worker.control, (requestId) => void words.push(`worker ${requestId}`));
  await listenCancel(meta.control, (requestId) => void words.push(`meta ${requestId}`));
  broadcastCancel(coordinator.control, 'r1', 'run');
  await until(() => words.length === 2, 'all words are heard');
  expect(words.sort()).toEqual(['meta r1', 'worker r1']);

  // What the coordinator and the operator look at and clear.
  for (const queue of [coordinator, operator]) {
    expect((await queue.work.depths()).length).toBe(6);
    expect(await queue.dead.count()).toBe(2);
    expect(queue.drift).toEqual([]);
  }
  // Everybody goes by the time of NATS.
  for (const queue of [coordinator, worker, meta, operator]) {
    expect(Math.abs(await queue.clockSkewMs())).toBeLessThan(60_000);
  }
  expect(await coordinator.dead.list(10)).toHaveLength(2);
  await coordinator.dead.remove(id, 'meta', 0);
  await coordinator.sweep({ busy: new Set(), complete: true, oldestOpenAtMs: Date.now() });
  await coordinator.work.withdraw(id);
  expect(await coordinator.work.countTasks(id)).toBe(0);
  expect(await putSample(worker.ledger, id, anInvalidSample(1))).toBe('stored');
  await coordinator.ledger.reopen(id, new Map([[ownLane(1), [1]]]));
  expect(await samplesOf(worker.ledger, id, [1])).toEqual(new Map());
  await coordinator.ledger.forget(id);
  expect(await coordinator.ledger.record(id)).toBeUndefined();

  for (const queue of [worker, meta, operator, coordinator]) await queue.close();
  expect(denied).toEqual([]);
});
