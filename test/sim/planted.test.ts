// The simulation is checked: with a fault planted in the world it complains within a few seeds, and names what was broken.

import { expect, test } from 'vitest';
import type { Rule } from './check.js';
import { report, simulate } from './simulate.js';
import type { Sabotage } from './world.js';

const seedsMax = 250;

async function firstFound(sabotage: Sabotage, rule: Rule): Promise<string> {
  for (let seed = 1; seed <= seedsMax; seed++) {
    const simulated = await simulate(seed, sabotage);
    if (simulated.complaints.some((each) => each.rule === rule)) return report(simulated);
  }
  return 'nothing was found';
}

test('P2: a ledger that keeps the last of several samples is found', async () => {
  expect(await firstFound({ queue: 'overwrites' }, 'P2 one effect')).toMatch(
    /P2 one effect: (sample|meta) \d of r\d was changed by [wm]/,
  );
});

test('P2: a writer that is refused in a lane and does not read what is there is found', async () => {
  expect(await firstFound({ queue: 'blind' }, 'P2 one effect')).toMatch(
    /P2 one effect: (sample|meta) \d of r\d was stored twice, the second time by [wm]/,
  );
});

test('P1: a queue that gives a task away for good is found, with the way to see it again', async () => {
  const found = await firstFound({ queue: 'forgets' }, 'rest');
  expect(found).toMatch(/does not come to rest: .*(callers|no verdict)/);
  expect(found).toMatch(/^seed (\d+) breaks .* make sim SEED=\1\n/);
});

test('P1: a cluster that leaves dead coordinators’ requests alone is found', async () => {
  expect(await firstFound({ noTakeover: true }, 'P1 answered')).toMatch(/was accepted and has no verdict/);
});

test('P1: a coordinator that trusts notices alone is found', async () => {
  expect(await firstFound({ noReplay: true }, 'rest')).toMatch(/does not come to rest/);
});

test('P1: processes that go by the clocks of their own machines are found', async () => {
  expect(await firstFound({ ownClocks: true }, 'P1 answered')).toMatch(/was accepted and has no verdict/);
});
