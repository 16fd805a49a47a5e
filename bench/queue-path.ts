// How fast the queue alone goes: task -> work queue -> worker -> ledger -> follower, with an instant engine, k = 8 as 2 shards of 4.
// `bare` is the yardstick in the same moment: one work-queue task per sample, the result over core NATS, no record, no ledger, no verdict.
// Not measured: gRPC, prompts, parsing, votes, real engines.
//
//   node dist/bench/queue-path.js [nats url] [seconds per round] [storage]

import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { openQueue, type QueueOptions } from '../src/queue/jetstream.js';
import { emptyLog } from '../src/queue/lanes.js';
import type { Content } from '../src/grm/query.js';
import type { ScoredSample } from '../src/grm/sample.js';
import type { Delivery } from '../src/queue/queue.js';
import type { RequestRecord, Shard } from '../src/work/shard.js';

const [, , url = 'nats://127.0.0.1:4222', secondsText = '5', storage = 'file', role = 'coordinator'] = process.argv;
const seconds = Number(secondsText);
const never = new AbortController().signal;

function options(name: string): QueueOptions {
  return {
    servers: [url],
    name,
    pools: { grm: ['bench'], meta: [] },
    storage: storage === 'memory' ? 'memory' : 'file',
    replicas: 1,
    storageBytesMax: 3 * 1024 ** 3,
    own: name === 'coordinator',
  };
}

const content: Content = {
  messages: [{ role: 'user', content: 'q'.repeat(1_000) }],
  responses: ['a'.repeat(500), 'b'.repeat(500)],
  principles: [],
};
const critique = 'c'.repeat(500);
const bareResult = new Uint8Array(1_200);

function record(requestId: string): RequestRecord {
  return {
    requestId,
    digest: 'd'.repeat(64),
    tenant: 'bench',
    class: 'rl',
    content,
    plan: {
      k: 8,
      vote: 'sum',
      temperature: 0.7,
      topP: 1,
      maxTokens: 512,
      quorum: 1,
      timeBudgetMs: 60_000,
      templateHash: 'a'.repeat(64),
      meta: false,
      seed: 1,
    },
    nonce: 'nonce',
    owner: 'bench',
    acceptedAtMs: Date.now(),
  };
}

function shardOf(requestId: string, shard: number): Shard {
  return {
    requestId,
    shard,
    samples: [0, 1, 2, 3].map((i) => ({ index: shard * 4 + i, seed: i, permutation: [0, 1] })),
    temperature: 0.7,
    topP: 1,
    maxTokens: 512,
    deadlineAtMs: Date.now() + 60_000,
    templateHash: 'a'.repeat(64),
    nonce: 'nonce',
    content,
    queuedAtMs: Date.now(),
    class: 'rl',
    run: 'bench',
    lane: `bench-${shard}`,
  };
}

function sampleOf(index: number): ScoredSample {
  return {
    kind: 'scored',
    index,
    text: critique,
    principles: 'p'.repeat(200),
    critique,
    shownScores: [7, 4],
    scores: [7, 4],
    permutation: [0, 1],
    seed: index,
    worker: 'bench-worker',
    engine: 'none',
    model: 'none',
    templateHash: 'a'.repeat(64),
    usage: { promptTokens: 900, cachedTokens: 800, completionTokens: 250 },
    finishReason: 'stop',
    queueMs: 1,
    engineMs: 0,
  };
}

async function worker(): Promise<void> {
  const queue = await openQueue(options('worker'));
  const puller = await queue.work.pullShards('bench');
  const look = process.env['BENCH_LOOK'] !== '0';
  let inHand = 0;
  let pulls = 0;
  let wake: () => void = () => undefined;
  const one = async (delivery: Delivery<Shard>): Promise<void> => {
    const { requestId, samples, lane } = delivery.task!;
    if (requestId.startsWith('bare')) {
      queue.control.broadcast(requestId, bareResult);
      delivery.ack();
      inHand -= 1;
      wake();
      return;
    }
    const known = look ? await queue.ledger.samples(requestId, lane) : emptyLog;
    await queue.ledger.addSamples(
      requestId,
      lane,
      known,
      samples.map(({ index }) => sampleOf(index)),
    );
    delivery.ack();
    inHand -= 1;
    wake();
  };
  process.on('disconnect', () => process.exit(0));
  process.send?.('ready');
  process.on('message', () => process.send?.(pulls));
  const slots = 256;
  for (;;) {
    while (inHand >= slots) await new Promise<void>((go) => (wake = go));
    pulls += 1;
    for (const delivery of await puller.pull(slots - inHand, never)) {
      inHand += 1;
      void one(delivery);
    }
  }
}

async function coordinator(): Promise<void> {
  const queue = await openQueue(options('coordinator'));
  const child = fork(process.argv[1]!, [url, secondsText, storage, 'worker']);
  await new Promise((ready) => child.once('message', ready));
  for (const [kind, inFlight] of [1, 64, 256].flatMap((n) => [['bare', n] as const, ['ledger', n] as const])) {
    const latencies: number[] = [];
    let samples = 0;
    let missed = 0;
    const endAt = Date.now() + seconds * 1_000;
    const cpuBefore = process.cpuUsage();
    const startedAt = performance.now();
    const bare = async (): Promise<void> => {
      while (Date.now() < endAt) {
        const id = `bare${randomBytes(9).toString('hex')}`;
        const began = performance.now();
        let heard = 0;
        let finished: () => void = () => undefined;
        const all = new Promise<void>((resolve) => (finished = resolve));
        const stop = await queue.control.listen(id, () => {
          heard += 1;
          if (heard === 8) finished();
        });
        const tasks = Array.from({ length: 8 }, (_, i) => ({
          ...shardOf(id, i),
          samples: [{ index: i, seed: i, permutation: [0, 1] }],
        }));
        await queue.work.putShards('bench', 'e', tasks);
        await all;
        stop();
        latencies.push(performance.now() - began);
        samples += heard;
      }
    };
    const score = async (): Promise<void> => {
      while (Date.now() < endAt) {
        const id = `b${randomBytes(9).toString('hex')}`;
        const began = performance.now();
        const heard = new Set<number>();
        let finished: () => void = () => undefined;
        const all = new Promise<void>((resolve) => (finished = resolve));
        const following = await queue.ledger.follow(id, {
          samples: (samples) => {
            for (const { index } of samples) heard.add(index);
            if (heard.size === 8) finished();
          },
        });
        await queue.ledger.accept(record(id));
        await queue.work.putShards('bench', 'e', [shardOf(id, 0), shardOf(id, 1)]);
        const timer = setTimeout(() => {
          missed += 1;
          finished();
        }, 20_000);
        await all;
        clearTimeout(timer);
        following.close();
        await queue.ledger.putVerdict({
          kind: 'valid',
          requestId: id,
          responses: 2,
          rewards: [
            { value: 7, vote: 56, rank: 1 },
            { value: 4, vote: 32, rank: 2 },
          ],
          ranking: [0, 1],
          best: 0,
          tie: false,
          k: 8,
          kValid: 8,
          kKept: 8,
          vote: 'sum',
          degraded: [],
          samples: [],
          usage: { promptTokens: 0, cachedTokens: 0, completionTokens: 0 },
          durationMs: 1,
          templateHash: 'a'.repeat(64),
          models: [],
          metaModel: '',
          finishedAtMs: Date.now(),
          nonce: 'a1b2c3d4',
        });
        latencies.push(performance.now() - began);
        samples += heard.size;
      }
    };
    await Promise.all(Array.from({ length: inFlight }, kind === 'bare' ? bare : score));
    const tookS = (performance.now() - startedAt) / 1_000;
    const cpu = process.cpuUsage(cpuBefore);
    latencies.sort((x, y) => x - y);
    const at = (share: number): string => (latencies[Math.floor(latencies.length * share)] ?? NaN).toFixed(1);
    const pulls = await new Promise<number>((got) => {
      child.once('message', (count) => {
        got(count as number);
      });
      child.send('pulls');
    });
    console.log(
      `${storage} ${kind} ${inFlight} in flight: ${Math.round(samples / tookS)} samples/s, ` +
        `${at(0.5)} / ${at(0.99)} ms p50/p99, coordinator cpu ${((cpu.user + cpu.system) / 1e6 / tookS).toFixed(2)}, ` +
        `missed ${missed}, pulls so far ${pulls}`,
    );
    await sleep(500);
  }
  child.disconnect();
  await queue.close();
}

await (role === 'worker' ? worker() : coordinator());
