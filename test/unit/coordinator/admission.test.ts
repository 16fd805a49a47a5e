import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Admission, type Ticket } from '../../../src/coordinator/admission.js';
import { virtualClock } from '../../support/virtual-clock.js';

const bounds = { requestsMax: 10, samplesMax: 64, bytesMax: 10_000 };
/** All of the bounds are open to rl: nothing is kept for others. */
const rlAlone = { interactive: 0, rl: 1, batch: 0 };

const acts = fc.array(
  fc.oneof(
    fc.record({ samples: fc.integer({ min: 1, max: 128 }), bytes: fc.nat(20_000) }),
    fc.record({ release: fc.nat(10) }),
  ),
  { maxLength: 120 },
);

test('A1 (P4): bounds are never exceeded but by a lone request, and the load is the sum of the tickets out', () => {
  fc.assert(
    fc.property(acts, (list) => {
      const admission = new Admission(bounds, virtualClock(), rlAlone);
      const held: { ticket: Ticket; samples: number; bytes: number }[] = [];
      for (const act of list) {
        if ('release' in act) {
          held.splice(act.release % Math.max(1, held.length), 1)[0]?.ticket.release();
        } else {
          const fits =
            held.length < bounds.requestsMax &&
            admission.load.samples + act.samples <= bounds.samplesMax &&
            admission.load.bytes + act.bytes <= bounds.bytesMax;
          const admitted = admission.admit(act.samples, act.bytes, 'rl');
          expect(admitted.kind).toBe(held.length === 0 || fits ? 'admitted' : 'refused');
          if (admitted.kind === 'admitted') held.push({ ticket: admitted.ticket, ...act });
          else expect(admitted.fault.retryAfterMs).toBeGreaterThan(0);
        }
        const sum = (pick: (each: { samples: number; bytes: number }) => number) =>
          held.reduce((total, each) => total + pick(each), 0);
        expect(admission.load).toEqual({
          requests: held.length,
          samples: sum((e) => e.samples),
          bytes: sum((e) => e.bytes),
        });
        if (held.length > 1) {
          expect(admission.load.samples).toBeLessThanOrEqual(bounds.samplesMax);
          expect(admission.load.bytes).toBeLessThanOrEqual(bounds.bytesMax);
          expect(held.length).toBeLessThanOrEqual(bounds.requestsMax);
        }
      }
    }),
  );
});

test('A2: a ticket given back twice is a bug', () => {
  const admission = new Admission(bounds, virtualClock(), rlAlone);
  const admitted = admission.admit(1, 1, 'rl');
  if (admitted.kind !== 'admitted') throw new Error('there is room');
  admitted.ticket.release();
  expect(() => admitted.ticket.release()).toThrow('A2');
  expect(admission.load).toEqual({ requests: 0, samples: 0, bytes: 0 });
});

test('why it was refused, and who drains refuses all', () => {
  const admission = new Admission(bounds, virtualClock(), rlAlone);
  admission.admit(60, 1, 'rl');
  expect(admission.admit(5, 1, 'rl')).toMatchObject({ kind: 'refused', why: 'samples', fault: { kind: 'overloaded' } });
  expect(admission.admit(1, 10_000, 'rl')).toMatchObject({
    kind: 'refused',
    why: 'bytes',
    fault: { kind: 'overloaded' },
  });
  admission.drain();
  expect(admission.admit(1, 1, 'rl')).toMatchObject({ kind: 'refused', why: 'draining', fault: { kind: 'draining' } });
});

test('the retry delay follows how fast requests finish', async () => {
  const delayAfter = async (everyMs: number): Promise<number> => {
    const clock = virtualClock();
    const admission = new Admission({ ...bounds, requestsMax: 1 }, clock, rlAlone);
    for (let i = 0; i < 100; i++) {
      const admitted = admission.admit(1, 1, 'rl');
      await clock.advance(everyMs);
      if (admitted.kind === 'admitted') admitted.ticket.release();
    }
    admission.admit(1, 1, 'rl');
    const refused = admission.admit(1, 1, 'rl');
    return refused.kind === 'refused' ? (refused.fault.retryAfterMs ?? 0) : 0;
  };
  expect(await delayAfter(1)).toBe(50);
  expect(await delayAfter(1_000)).toBeGreaterThan(3_900);
  expect(await delayAfter(1_000)).toBeLessThan(4_100);
  expect(await delayAfter(60_000)).toBe(30_000);
});

const weights = { interactive: 8, rl: 4, batch: 1 };

test('A3: a flood of one class leaves the others their part of the half that is kept', () => {
  const admission = new Admission({ requestsMax: 260, samplesMax: 2_600, bytesMax: 260_000 }, virtualClock(), weights);
  const flood = (klass: 'interactive' | 'rl' | 'batch'): number => {
    let admitted = 0;
    while (admission.admit(8, 100, klass).kind === 'admitted') admitted++;
    return admitted;
  };
  // Of 260 requests 80 are kept for interactive, 40 for rl and 10 for batch.
  expect(flood('batch')).toBe(140);
  expect(flood('rl')).toBe(40);
  expect(flood('interactive')).toBe(80);
  expect(admission.load.requests).toBe(260);
  expect(flood('batch') + flood('rl') + flood('interactive')).toBe(0);
});

test('A1 A3: whatever comes and goes, no bound is passed and no class is refused within its part', () => {
  const klasses = fc.constantFrom('interactive', 'rl', 'batch');
  const step = fc.oneof(
    fc.record({ klass: klasses, samples: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ release: fc.nat(200) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const admission = new Admission({ requestsMax: 52, samplesMax: 208, bytesMax: 10_000 }, virtualClock(), weights);
      const held: { ticket: Ticket; klass: string }[] = [];
      for (const each of steps) {
        if ('release' in each) {
          held.splice(each.release % Math.max(1, held.length), 1)[0]?.ticket.release();
          continue;
        }
        const mine = held.filter(({ klass }) => klass === each.klass).length;
        const admitted = admission.admit(each.samples, 1, each.klass);
        // Of 52 requests and 208 samples: 16 and 64, 8 and 32, 2 and 8.
        const kept = { interactive: 16, rl: 8, batch: 2 }[each.klass];
        if (mine < kept) expect(admitted.kind).toBe('admitted');
        if (admitted.kind === 'admitted') held.push({ ticket: admitted.ticket, klass: each.klass });
        expect(admission.load.requests).toBeLessThanOrEqual(52);
        expect(admission.load.samples).toBeLessThanOrEqual(208);
      }
    }),
  );
});
