// Takeover: what a coordinator's look for unfinished requests costs, beside so many verdicts that are kept.
//
//   make bench ARGS="--only takeover"
//   BENCH_KEPT=1000000 make bench ARGS="--only takeover --minutes 20"     batch jobs keep millions

import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '../../src/limits.js';
import { encodeContent, encodeRecord } from '../../src/queue/codec.js';
import { openQueue, type QueueOptions } from '../../src/queue/jetstream.js';
import type { QueueSystem } from '../../src/queue/queue.js';
import { subjects } from '../../src/queue/subjects.js';
import type { RequestRecord } from '../../src/work/shard.js';
import { startFolderNats } from '../cluster.js';
import type { Measurement } from '../figure.js';

const kept = Number(process.env['BENCH_KEPT'] ?? 20_000);
/** Requests without a verdict among them, evenly: a look must find each. */
const openCount = 16;
/** Finished between two looks. */
const fresh = 1_000;
const names = {
  whole: 'first look of all, without a checkpoint',
  begin: 'first look of a coordinator that starts',
  next: `next look, ${fresh} requests later`,
  stall: 'longest stretch of computing between two turns of the event loop in any look',
  memory: 'memory after the first look of all, more than before',
} as const;
const GiB = 1024 ** 3;

export const takeover: Measurement = {
  name: 'takeover',
  title: 'Looking for unfinished requests',
  words:
    `${kept.toLocaleString('en')} finished requests are kept on file, small ones, and ${openCount} among them have no verdict. Looks find these: one that reads all, one of a ` +
    `coordinator that starts where others have looked, and one after ${fresh} more were finished. BENCH_KEPT sets how many are kept.`,
  notMeasured: ['replicas', 'what taking a request up costs'],
  usualSeconds: 6,
  budgetSeconds: 15,
  figures: [
    { name: names.whole, unit: 's' },
    { name: names.begin, unit: 's' },
    { name: names.next, unit: 's', bar: { of: 'value', is: 'at most', limit: 1 } },
    { name: names.stall, unit: 'ms', bar: { of: 'value', is: 'at most', limit: 50 } },
    { name: names.memory, unit: 'MB' },
  ],
  measure: async ({ tell, found }) => {
    await using nats = await startFolderNats();
    const options = (name: string): QueueOptions => ({
      servers: [nats.url],
      name,
      pools: { grm: ['bench'], meta: [] },
      storage: 'file',
      replicas: 1,
      storageBytesMax: 8 * GiB,
      own: true,
    });
    const first = await openQueue(options('first'));
    tell(`storing ${kept} finished requests`);
    await fill(nats.url, 0, kept);
    tell('looking');

    let stallMs = 0;
    const look = async (queue: QueueSystem): Promise<number> => {
      const stall = watchStalls();
      const startedAt = performance.now();
      let open = 0;
      for await (const record of queue.ledger.unfinished()) open += record.owner === 'gone' ? 1 : 0;
      const seconds = (performance.now() - startedAt) / 1_000;
      await sleep(5);
      stallMs = Math.max(stallMs, stall());
      if (open !== openCount) throw new Error(`${open} unfinished requests were found, there are ${openCount}`);
      return seconds;
    };
    const before = process.memoryUsage.rss();
    found(names.whole, await look(first));
    found(names.memory, (process.memoryUsage.rss() - before) / 1e6);
    const second = await openQueue(options('second'));
    found(names.begin, await look(second));
    await fill(nats.url, kept, fresh);
    found(names.next, await look(first));
    found(names.stall, stallMs);
    await first.close();
    await second.close();
  },
};

/**
 * The longest stretch of computing between two turns of the event loop, milliseconds, from now until the returned function is called. By the
 * time that this process had of a core: what others took is no stall of ours.
 */
function watchStalls(): () => number {
  let longestMs = 0;
  let before = process.cpuUsage();
  const timer = setInterval(() => {
    const { user, system } = process.cpuUsage(before);
    before = process.cpuUsage();
    longestMs = Math.max(longestMs, (user + system) / 1_000);
  }, 1);
  return () => {
    clearInterval(timer);
    return longestMs;
  };
}

/** Straight into the streams, unacknowledged: what is stored is what a coordinator stores. Resolves when the server has it. */
async function fill(url: string, from: number, count: number): Promise<void> {
  const nc = await connect({ servers: url, noAsyncTraces: true });
  const jsm = await jetstreamManager(nc);
  const verdict = Buffer.from('v'.repeat(300));
  const every = Math.max(1, Math.floor(kept / openCount));
  let verdicts = (await jsm.streams.info('GRM_FIN')).state.messages;
  for (let at = from; at < from + count; at += 1) {
    const id = `r${at.toString(16).padStart(32, '0')}`;
    const record = recordOf(id);
    nc.publish(subjects.request(id), encodeRecord(record, { bytes: encodeContent(record.content) }));
    const isOpen = at < kept && at % every === every - 1 && at / every < openCount;
    if (!isOpen) {
      nc.publish(subjects.verdict(id), verdict);
      verdicts += 1;
    }
    // Not faster than the server stores it.
    if (at % 2_000 === 0) await stored(at + 1 - 4_000);
  }
  await stored(from + count);
  while ((await jsm.streams.info('GRM_FIN')).state.messages < verdicts) await sleep(5);
  await nc.close();

  async function stored(atLeast: number): Promise<void> {
    await nc.flush();
    while ((await jsm.streams.info('GRM_REQ')).state.messages < atLeast) await sleep(5);
  }
}

function recordOf(requestId: string): RequestRecord {
  return {
    requestId,
    digest: 'd'.repeat(64),
    tenant: 'bench',
    class: 'batch',
    content: { messages: [{ role: 'user', content: 'q' }], responses: ['a', 'b'], principles: [] },
    plan: {
      k: 1,
      vote: 'sum',
      temperature: 0.7,
      topP: 1,
      maxTokens: 512,
      quorum: 1,
      timeBudgetMs: limits.timeBudgetMsMax,
      templateHash: 'a'.repeat(64),
      meta: false,
      seed: 1,
    },
    nonce: 'nonce',
    owner: 'gone',
    acceptedAtMs: Date.now(),
  };
}
