import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FairQueue } from '../../../src/coordinator/fair.js';
import { limits } from '../../../src/limits.js';

interface Item {
  readonly flow: string;
  readonly cost: number;
  readonly serial: number;
}

const flows = fc.uniqueArray(
  fc.record({ name: fc.stringMatching(/^[a-z]{1,4}$/), weight: fc.integer({ min: 1, max: 16 }) }),
  { selector: ({ name }) => name, minLength: 2, maxLength: 5 },
);

test('F1: backlogged flows are served in proportion to their weights, within two of the largest items', () => {
  const costs = fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 40, maxLength: 40 });
  fc.assert(
    fc.property(flows, costs, (each, costList) => {
      const queue = new FairQueue<Item>();
      for (const { name, weight } of each) {
        costList.forEach((cost, serial) => queue.push(name, weight, cost, { flow: name, cost, serial }));
      }
      const served = new Map(each.map(({ name }) => [name, 0]));
      const left = new Map(each.map(({ name }) => [name, costList.length]));
      // As long as every flow has something waiting, served / weight of any two differs by little (Goyal et al., theorem 1).
      while ([...left.values()].every((count) => count > 1)) {
        const { flow, cost } = queue.pop()!;
        served.set(flow, served.get(flow)! + cost);
        left.set(flow, left.get(flow)! - 1);
        const shares = each.map(({ name, weight }) => ({
          least: (served.get(name)! - 8) / weight,
          most: (served.get(name)! + 8) / weight,
        }));
        expect(Math.max(...shares.map(({ least }) => least))).toBeLessThanOrEqual(
          Math.min(...shares.map(({ most }) => most)) + 1e-9,
        );
      }
    }),
    { numRuns: 50 },
  );
});

const acts = fc.array(
  fc.oneof(
    fc.record({ push: fc.constantFrom('a', 'b', 'c'), cost: fc.integer({ min: 1, max: 8 }) }),
    fc.constant('pop' as const),
    fc.record({ prune: fc.integer({ min: 2, max: 5 }) }),
  ),
  { maxLength: 200 },
);

test('F2: items of one flow leave in order, each once, whatever is pushed, popped and pruned between', () => {
  fc.assert(
    fc.property(acts, (list) => {
      const queue = new FairQueue<Item>();
      const waiting = new Map<string, number[]>([
        ['a', []],
        ['b', []],
        ['c', []],
      ]);
      let serial = 0;
      for (const act of list) {
        if (act === 'pop') {
          const item = queue.pop();
          if (item) expect(waiting.get(item.flow)!.shift()).toBe(item.serial);
          else expect([...waiting.values()].flat()).toEqual([]);
        } else if ('push' in act) {
          serial++;
          queue.push(act.push, 2, act.cost, { flow: act.push, cost: act.cost, serial });
          waiting.get(act.push)!.push(serial);
        } else {
          queue.prune((item) => item.serial % act.prune !== 0);
          for (const [flow, serials] of waiting)
            waiting.set(
              flow,
              serials.filter((each) => each % act.prune !== 0),
            );
        }
        expect(queue.size).toBe([...waiting.values()].reduce((sum, serials) => sum + serials.length, 0));
      }
    }),
  );
});

test('a flow that was idle gets no credit for it, and does not wait behind the backlog', () => {
  const queue = new FairQueue<string>();
  for (let i = 0; i < 100; i++) queue.push('busy', 1, 1, 'busy');
  for (let i = 0; i < 50; i++) queue.pop();
  for (let i = 0; i < 100; i++) queue.push('late', 1, 1, 'late');
  const next = Array.from({ length: 40 }, () => queue.pop());
  expect(next.filter((flow) => flow === 'late').length).toBeGreaterThanOrEqual(19);
  expect(next.filter((flow) => flow === 'late').length).toBeLessThanOrEqual(21);
});

test('an empty queue pops nothing', () => {
  expect(new FairQueue<string>().pop()).toBeUndefined();
});

test('flows beyond the bound share one, and are still served (P4)', () => {
  const queue = new FairQueue<number>();
  const flowCount = limits.tenantsMax + 200;
  for (let i = 0; i < flowCount; i++) queue.push(`t${i}`, 1, 1, i);
  const popped = new Set(Array.from({ length: flowCount }, () => queue.pop()));
  expect(popped.size).toBe(flowCount);
  expect(queue.size).toBe(0);
});
