import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Dispatcher, type Account } from '../../../src/coordinator/dispatch.js';
import { classes } from '../../../src/grm/query.js';

const weights = { class: { interactive: 8, rl: 4, batch: 1 }, tenant: { big: 3 } };

type Act =
  | { readonly kind: 'open'; readonly tenant: string; readonly klass: (typeof classes)[number] }
  | { readonly kind: 'submit'; readonly account: number; readonly cost: number }
  | { readonly kind: 'settle'; readonly account: number; readonly samples: number }
  | { readonly kind: 'close'; readonly account: number };

const acts: fc.Arbitrary<Act[]> = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('open' as const),
      tenant: fc.constantFrom('big', 'a', 'b'),
      klass: fc.constantFrom(...classes),
    }),
    fc.record({ kind: fc.constant('submit' as const), account: fc.nat(20), cost: fc.integer({ min: 1, max: 8 }) }),
    fc.record({ kind: fc.constant('settle' as const), account: fc.nat(20), samples: fc.integer({ min: 1, max: 8 }) }),
    fc.record({ kind: fc.constant('close' as const), account: fc.nat(20) }),
  ),
  { maxLength: 150 },
);

test('D1, D2: whatever comes in whatever order, what is out stays below the window plus one shard and is given back once', () => {
  fc.assert(
    fc.property(acts, fc.integer({ min: 1, max: 30 }), (list, window) => {
      const dispatcher = new Dispatcher(window, weights);
      const accounts: { readonly account: Account; out: number; open: boolean; sent: number; submitted: number }[] = [];
      const out = (): number => accounts.reduce((sum, each) => sum + each.out, 0);
      for (const act of list) {
        if (act.kind === 'open') {
          accounts.push({ account: dispatcher.open(act.tenant, act.klass), out: 0, open: true, sent: 0, submitted: 0 });
          continue;
        }
        const each = accounts[act.account % Math.max(1, accounts.length)];
        if (!each) continue;
        if (act.kind === 'submit') {
          if (each.open) each.submitted++;
          each.account.submit(act.cost, () => {
            expect(each.open).toBe(true);
            each.out += act.cost;
            each.sent++;
          });
        } else if (act.kind === 'settle') {
          // In the test's book first: the settling itself may send what is next.
          each.out = Math.max(0, each.out - act.samples);
          each.account.settle(act.samples);
        } else {
          each.open = false;
          each.out = 0;
          each.account.close();
          each.account.close();
        }
        expect(out()).toBeLessThan(window + 8);
        // Work-conserving: something of a living request waits only while the window is full.
        const waits = accounts.some(({ open, sent, submitted }) => open && sent < submitted);
        if (waits) expect(out()).toBeGreaterThanOrEqual(window);
      }
      for (const { account } of accounts) account.close();
      const fresh = dispatcher.open('a', 'rl');
      let sent = 0;
      for (let i = 0; i < window; i++)
        fresh.submit(1, () => {
          sent++;
        });
      expect(sent).toBe(window);
    }),
  );
});

test('classes and tenants share a full window by weight', () => {
  const dispatcher = new Dispatcher(1, weights);
  const counts = new Map<string, number>();
  const submit = (tenant: string, klass: (typeof classes)[number], times: number): void => {
    const account = dispatcher.open(tenant, klass);
    const key = `${klass}/${tenant}`;
    for (let i = 0; i < times; i++) {
      account.submit(1, () => {
        counts.set(key, (counts.get(key) ?? 0) + 1);
        last = account;
      });
    }
  };
  const gate = dispatcher.open('gate', 'rl');
  let last: Account = gate;
  gate.submit(1, () => undefined);
  submit('a', 'interactive', 800);
  submit('a', 'rl', 800);
  submit('big', 'rl', 800);
  submit('a', 'batch', 800);
  for (let i = 0; i < 500; i++) last.settle(1);
  // Weights 8, 4, 12 and 1 of 25.
  expect(counts.get('interactive/a')).toBeGreaterThanOrEqual(158);
  expect(counts.get('rl/a')).toBeGreaterThanOrEqual(78);
  expect(counts.get('rl/big')).toBeGreaterThanOrEqual(238);
  expect(counts.get('batch/a')).toBeGreaterThanOrEqual(18);
});

test('D3 (P4): callers who come and go behind a window that does not move leave nothing behind', () => {
  const dispatcher = new Dispatcher(4, weights);
  const stuck = dispatcher.open('stuck', 'rl');
  stuck.submit(4, () => undefined);
  let mostWaiting = 0;
  let sent = 0;
  for (let i = 0; i < 20_000; i++) {
    const passing = dispatcher.open(`t${i % 50}`, 'batch');
    passing.submit(8, () => {
      sent++;
    });
    passing.close();
    mostWaiting = Math.max(mostWaiting, dispatcher.waiting);
  }
  expect(mostWaiting).toBeLessThanOrEqual(1_100);
  expect(sent).toBe(0);
  const living = dispatcher.open('living', 'rl');
  living.submit(1, () => {
    sent++;
  });
  stuck.close();
  expect(sent).toBe(1);
  expect(dispatcher.waiting).toBe(0);
});

test('what a request sends after its end is not sent', () => {
  const dispatcher = new Dispatcher(4, weights);
  const a = dispatcher.open('a', 'rl');
  a.close();
  let sent = 0;
  a.submit(1, () => {
    sent++;
  });
  expect(sent).toBe(0);
  expect(dispatcher.waiting).toBe(0);
});

test('D1: a send that gives back at once lets the next one go, however many do', () => {
  const dispatcher = new Dispatcher(1, weights);
  const account = dispatcher.open('a', 'rl');
  const sent: number[] = [];
  account.submit(1, () => sent.push(0));
  for (let i = 1; i <= 20_000; i++) {
    account.submit(1, () => {
      sent.push(i);
      account.settle(1);
    });
  }
  expect(sent).toEqual([0]);
  account.settle(1);
  expect(sent).toHaveLength(20_001);
  expect(sent.at(-1)).toBe(20_000);
  expect(dispatcher.waiting).toBe(0);
});
