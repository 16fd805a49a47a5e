import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Admission, type Ticket } from '../../../src/coordinator/admission.js';
import { virtualClock } from '../../support/virtual-clock.js';

const bounds = { requestsMax: 10, samplesMax: 64, bytesMax: 10_000 };

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
      const admission = new Admission(bounds, virtualClock());
      const held: { ticket: Ticket; samples: number; bytes: number }[] = [];
      for (const act of list) {
        if ('release' in act) {
          held.splice(act.release % Math.max(1, held.length), 1)[0]?.ticket.release();
        } else {
          const fits =
            held.length < bounds.requestsMax &&
            admission.load.samples + act.samples <= bounds.samplesMax &&
            admission.load.bytes + act.bytes <= bounds.bytesMax;
          const admitted = admission.admit(act.samples, act.bytes);
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
  const admission = new Admission(bounds, virtualClock());
  const admitted = admission.admit(1, 1);
  if (admitted.kind !== 'admitted') throw new Error('there is room');
  admitted.ticket.release();
  expect(() => admitted.ticket.release()).toThrow('A2');
  expect(admission.load).toEqual({ requests: 0, samples: 0, bytes: 0 });
});

test('why it was refused, and who drains refuses all', () => {
  const admission = new Admission(bounds, virtualClock());
  admission.admit(60, 1);
  expect(admission.admit(5, 1)).toMatchObject({ kind: 'refused', why: 'samples', fault: { kind: 'overloaded' } });
  expect(admission.admit(1, 10_000)).toMatchObject({ kind: 'refused', why: 'bytes', fault: { kind: 'overloaded' } });
  admission.drain();
  expect(admission.admit(1, 1)).toMatchObject({ kind: 'refused', why: 'draining', fault: { kind: 'draining' } });
});

test('the retry delay follows how fast requests finish', async () => {
  const delayAfter = async (everyMs: number): Promise<number> => {
    const clock = virtualClock();
    const admission = new Admission({ ...bounds, requestsMax: 1 }, clock);
    for (let i = 0; i < 100; i++) {
      const admitted = admission.admit(1, 1);
      await clock.advance(everyMs);
      if (admitted.kind === 'admitted') admitted.ticket.release();
    }
    admission.admit(1, 1);
    const refused = admission.admit(1, 1);
    return refused.kind === 'refused' ? (refused.fault.retryAfterMs ?? 0) : 0;
  };
  expect(await delayAfter(1)).toBe(50);
  expect(await delayAfter(1_000)).toBeGreaterThan(3_900);
  expect(await delayAfter(1_000)).toBeLessThan(4_100);
  expect(await delayAfter(60_000)).toBe(30_000);
});
