// The part of the queue's contract that lanes are: who may write what, and what a reader sees.

import { describe, expect, test } from 'vitest';
import type { Sample } from '../../src/grm/sample.js';
import { emptyLog } from '../../src/queue/lanes.js';
import type { QueueSystem } from '../../src/queue/queue.js';
import { aMetaResult, anInvalidSample, aRecord, aSample, freshId } from '../support/work-values.js';

const byIndex = (x: Sample, y: Sample): number => x.index - y.index;

/** @param systems two processes on one message system */
export function laneContract(
  systems: () => { readonly a: QueueSystem; readonly b: QueueSystem },
  until: (holds: () => boolean, words: string) => Promise<void>,
): void {
  describe('lanes', () => {
    test('Q1, N1 (P2): many writers of one lane, each with what it drew: every sample is in it once, as its first writer stored it', async () => {
      const { a, b } = systems();
      const id = freshId();
      const lane = 'l-0';
      const writers = await Promise.all(
        Array.from({ length: 12 }, (_, i) => {
          const mine = [0, 1, 2, 3].map((n) => aSample((i + 2 * n) % 8, { worker: `w${i}` }));
          return (i % 2 ? a : b).ledger.addSamples(id, lane, emptyLog, mine);
        }),
      );
      const stored = writers.flatMap((added) => added.stored);
      expect(stored.map(({ index }) => index).toSorted()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
      const { appends, entries } = await a.ledger.samples(id, lane);
      expect(appends).toBeLessThanOrEqual(8);
      expect([...entries.values()].toSorted(byIndex)).toEqual(stored.toSorted(byIndex));
      for (const { log } of writers)
        for (const [index, sample] of log.entries) expect(entries.get(index)).toEqual(sample);
    });

    test('Q1, N1 (P2): a stale writer is refused what is there, appends what is not, and is told what the lane holds', async () => {
      const { a, b } = systems();
      const id = freshId();
      const lane = 'l-1';
      const stale = await b.ledger.samples(id, lane);
      const first = await a.ledger.addSamples(id, lane, stale, [aSample(1), aSample(3)]);
      await a.ledger.addSamples(id, lane, first.log, [aSample(5)]);
      const late = [aSample(3, { worker: 'late' }), aSample(7, { worker: 'late' })];
      const { log, stored } = await b.ledger.addSamples(id, lane, stale, late);
      expect(stored).toEqual([late[1]]);
      expect(log.appends).toBe(3);
      expect([...log.entries.values()]).toEqual([aSample(1), aSample(3), aSample(5), late[1]]);
      expect(await a.ledger.samples(id, lane)).toEqual(log);
      // A writer whose every result is there writes nothing.
      expect((await b.ledger.addSamples(id, lane, stale, late)).stored).toEqual([]);
      expect((await a.ledger.samples(id, lane)).appends).toBe(3);
    });

    test('Q2: what is stored together is told together, with its lane', async () => {
      const { a, b } = systems();
      const id = freshId();
      const told: (readonly [string, number])[] = [];
      const following = await a.ledger.follow(id, {
        samples: (those, lane) => void told.push([lane, those.length]),
        metas: (those, lane) => void told.push([lane, those.length]),
      });
      await a.ledger.accept(aRecord(id));
      await b.ledger.addSamples(id, 'l-0', emptyLog, [aSample(0), aSample(2), anInvalidSample(4)]);
      await b.ledger.addMetas(id, 'l-2', emptyLog, [aMetaResult(id, 1), aMetaResult(id, 3)]);
      await until(() => told.length === 2, 'both appends are heard');
      expect(told).toEqual([
        ['l-0', 3],
        ['l-2', 2],
      ]);
      following.close();
    });

    test('samples too big for one message travel in several, and read back whole', async () => {
      const { a, b } = systems();
      const id = freshId();
      const big = [0, 1, 2, 3].map((index) => aSample(index, { text: `${index}`.repeat(200_000) }));
      const { log, stored } = await a.ledger.addSamples(id, 'l-0', emptyLog, big);
      expect(stored).toEqual(big);
      expect(log.appends).toBe(2);
      expect(await b.ledger.samples(id, 'l-0')).toEqual(log);
    });

    test('N3: reopen in the middle of a lane hides none of what comes after it, and a failure that comes again may be reopened again', async () => {
      const { a, b } = systems();
      const id = freshId();
      const lane = 'l-0';
      const add = (...samples: Sample[]) => b.ledger.addSamples(id, lane, emptyLog, samples);
      await add(aSample(0));
      await add(anInvalidSample(2), anInvalidSample(4));
      await add(aSample(6));
      for (let again = 0; again < 3; again += 1) {
        await a.ledger.reopen(id, new Map([[lane, [2]]]));
        expect([...(await b.ledger.samples(id, lane)).entries.keys()]).toEqual([0, 6]);
        expect((await add(anInvalidSample(2), anInvalidSample(4))).stored).toHaveLength(2);
      }
      await a.ledger.reopen(id, new Map([[lane, [2]]]));
      expect((await add(aSample(2), aSample(6, { worker: 'late' }))).stored).toEqual([aSample(2)]);
      expect([...(await b.ledger.samples(id, lane)).entries.keys()]).toEqual([0, 6, 2]);
    });
  });
}
