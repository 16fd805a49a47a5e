import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Admission, type Ticket } from '../../../src/coordinator/admission.js';
import { virtualClock } from '../../support/virtual-clock.js';

const bounds = { requestsMax: 10, samplesMax: 64, bytesMax: 10_000 };
const weights = { class: { interactive: 8, rl: 4, batch: 1 }, tenant: { big: 3 } };
/** A3 is out of the way: what rl may hold is the bounds. */
const rlAlone = { class: { interactive: 1, rl: 1e6, batch: 1 }, tenant: {} };

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
          const admitted = admission.admit(act.samples, act.bytes, 't', 'rl');
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

test('A1: of requests taken up again one finds room whatever fills the bounds; the next one waits for it', () => {
  const admission = new Admission({ requestsMax: 1, samplesMax: 8, bytesMax: 100 }, virtualClock(), rlAlone);
  const waiting = admission.admit(8, 100, 't', 'rl');
  const resumed = admission.admit(8, 100, 't', 'rl', { resumed: true });
  if (waiting.kind !== 'admitted' || resumed.kind !== 'admitted') throw new Error('both are alone of their kind');
  expect(admission.admit(1, 1, 't', 'rl', { resumed: true }).kind).toBe('refused');
  expect(admission.admit(1, 1, 't', 'rl').kind).toBe('refused');
  resumed.ticket.release();
  const next = admission.admit(8, 100, 't', 'rl', { resumed: true });
  expect(next.kind).toBe('admitted');
});

test('A2: a ticket given back twice is a bug', () => {
  const admission = new Admission(bounds, virtualClock(), rlAlone);
  const admitted = admission.admit(1, 1, 't', 'rl');
  if (admitted.kind !== 'admitted') throw new Error('there is room');
  admitted.ticket.release();
  expect(() => admitted.ticket.release()).toThrow('A2');
  expect(admission.load).toEqual({ requests: 0, samples: 0, bytes: 0 });
});

test('A4: a request with adaptive k counts for what those before it drew, and for what it asks for as soon as that is more', () => {
  const k = 32;
  const admission = new Admission({ ...bounds, samplesMax: 256 }, virtualClock(), rlAlone);
  const admit = (adaptive = true): Ticket => {
    const admitted = admission.admit(k, 1, 't', 'rl', { adaptive });
    if (admitted.kind !== 'admitted') throw new Error('there is room');
    return admitted.ticket;
  };
  const drawn = (samples: number, times: number): void => {
    for (let time = 0; time < times; time++) {
      const ticket = admit();
      ticket.asked(samples);
      ticket.drew(samples);
      ticket.release();
    }
  };
  const counted = (adaptive?: boolean): number => {
    const ticket = admit(adaptive);
    const { samples } = admission.load;
    ticket.release();
    return samples;
  };
  expect(counted()).toBe(k);
  drawn(16, 400);
  expect(counted()).toBe(16);
  expect(counted(false)).toBe(k);
  // Never less than a quarter, whatever was drawn.
  drawn(2, 400);
  expect(counted()).toBe(k / 4);
  // What it asks for beyond that counts at once, and all of it is given back.
  const [one, other] = [admit(), admit()];
  one.asked(20);
  one.asked(12);
  expect(admission.load.samples).toBe(20 + k / 4);
  one.release();
  one.asked(k);
  expect(admission.load.samples).toBe(k / 4);
  other.release();
  expect(admission.load).toEqual({ requests: 0, samples: 0, bytes: 0 });
  // And it learns the other way.
  drawn(k, 400);
  expect(counted()).toBe(k);
});

test('why it was refused, and who drains refuses all', () => {
  const admission = new Admission(bounds, virtualClock(), rlAlone);
  admission.admit(60, 1, 't', 'rl');
  expect(admission.admit(5, 1, 't', 'rl')).toMatchObject({
    kind: 'refused',
    why: 'samples',
    fault: { kind: 'overloaded' },
  });
  expect(admission.admit(1, 10_000, 't', 'rl')).toMatchObject({
    kind: 'refused',
    why: 'bytes',
    fault: { kind: 'overloaded' },
  });
  admission.drain();
  expect(admission.admit(1, 1, 't', 'rl')).toMatchObject({
    kind: 'refused',
    why: 'draining',
    fault: { kind: 'draining' },
  });
});

test('A5: the retry delay follows how fast requests finish', async () => {
  const delayAfter = async (everyMs: number): Promise<number> => {
    const clock = virtualClock();
    const admission = new Admission({ ...bounds, requestsMax: 1 }, clock, rlAlone);
    for (let i = 0; i < 100; i++) {
      const admitted = admission.admit(1, 1, 't', 'rl');
      await clock.advance(everyMs);
      if (admitted.kind === 'admitted') admitted.ticket.release();
    }
    admission.admit(1, 1, 't', 'rl');
    const refused = admission.admit(1, 1, 't', 'rl');
    return refused.kind === 'refused' ? (refused.fault.retryAfterMs ?? 0) : 0;
  };
  expect(await delayAfter(1)).toBe(50);
  expect(await delayAfter(1_000)).toBeGreaterThan(3_900);
  expect(await delayAfter(1_000)).toBeLessThan(4_100);
  expect(await delayAfter(60_000)).toBe(30_000);
});

test('A5: an idle time says nothing about how fast requests finish, nor does a time with little to do', async () => {
  const clock = virtualClock();
  const admission = new Admission({ ...bounds, requestsMax: 100, samplesMax: 100 }, clock, rlAlone);
  const admit = (): Ticket => {
    const admitted = admission.admit(1, 1, 't', 'rl');
    if (admitted.kind !== 'admitted') throw new Error(`refused: ${admitted.fault.message}`);
    return admitted.ticket;
  };
  const delay = (): number => {
    const refused = admission.admit(1, 1, 't', 'rl');
    return refused.kind === 'refused' ? (refused.fault.retryAfterMs ?? 0) : NaN;
  };
  // One at a time, each takes two seconds, an hour apart.
  for (let i = 0; i < 5; i++) {
    const ticket = admit();
    await clock.advance(2_000);
    ticket.release();
    await clock.advance(3_600_000);
  }
  const held = Array.from({ length: 100 }, admit);
  // A hundred at once, as fast as those before: one every 20 ms.
  expect(delay()).toBe(80);
  // They are slower than those before: that shows while none has finished.
  await clock.advance(50_000);
  expect(delay()).toBe(2_000);
  await clock.advance(50_000);
  expect(delay()).toBe(4_000);
  for (const ticket of held) ticket.release();
});

test('A5: a coordinator that fills up for the first time sheds with a short delay', () => {
  const admission = new Admission({ ...bounds, requestsMax: 2 }, virtualClock(), rlAlone);
  for (let i = 0; i < 2; i++) expect(admission.admit(1, 1, 't', 'rl').kind).toBe('admitted');
  expect(admission.admit(1, 1, 't', 'rl')).toMatchObject({ kind: 'refused', fault: { retryAfterMs: 50 } });
});

type Klass = 'interactive' | 'rl' | 'batch';

test('A3: whoever floods leaves something free, by its weight; the others find it, and in the end each holds its part', () => {
  const admission = new Admission({ requestsMax: 140, samplesMax: 1_400, bytesMax: 140_000 }, virtualClock(), weights);
  const held: Record<string, Ticket[]> = {};
  const flood = (klass: Klass, tenant: string): number => {
    const mine = (held[`${klass}/${tenant}`] ??= []);
    for (;;) {
      const admitted = admission.admit(8, 100, tenant, klass);
      if (admitted.kind === 'refused') return mine.length;
      mine.push(admitted.ticket);
    }
  };
  // One, four and eight times what is free.
  expect(flood('batch', 'a')).toBe(70);
  expect(flood('rl', 'a')).toBe(56);
  expect(flood('interactive', 'a')).toBe(13);
  // As they finish, all come down to their parts.
  for (let round = 0; round < 100; round++) {
    for (const each of Object.values(held)) each.shift()?.release();
    for (const klass of ['batch', 'rl', 'interactive'] as const) flood(klass, 'a');
  }
  const [batch, rl, interactive] = Object.values(held).map((each) => each.length);
  expect(Math.abs(batch! - 10)).toBeLessThanOrEqual(2);
  expect(Math.abs(rl! - 40)).toBeLessThanOrEqual(4);
  expect(Math.abs(interactive! - 80)).toBeLessThanOrEqual(8);
  expect(admission.load.requests).toBeLessThan(140);
});

test('A3: tenants of one class hold by their weights, too, and one that holds little is admitted while another floods', () => {
  const admission = new Admission({ requestsMax: 170, samplesMax: 1e6, bytesMax: 1e6 }, virtualClock(), weights);
  const held: Record<string, Ticket[]> = { big: [], small: [] };
  const flood = (tenant: string): void => {
    for (;;) {
      const admitted = admission.admit(1, 1, tenant, 'rl');
      if (admitted.kind === 'refused') return;
      held[tenant]!.push(admitted.ticket);
    }
  };
  flood('small');
  expect(admission.admit(1, 1, 'another', 'rl').kind).toBe('admitted');
  for (let round = 0; round < 200; round++) {
    held.small!.shift()?.release();
    flood('big');
    flood('small');
  }
  expect(held.big!.length / held.small!.length).toBeCloseTo(3, 0);
});

test('A1 A3: whatever comes and goes, no bound is passed, and a flow is refused only for a bound or for its part', () => {
  const bounded = { requestsMax: 50, samplesMax: 200, bytesMax: 1_000 };
  const step = fc.oneof(
    fc.record({
      klass: fc.constantFrom<Klass>('interactive', 'rl', 'batch'),
      tenant: fc.constantFrom('big', 'a', 'b'),
      samples: fc.integer({ min: 1, max: 8 }),
      bytes: fc.integer({ min: 0, max: 40 }),
    }),
    fc.record({ release: fc.nat(200) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const admission = new Admission(bounded, virtualClock(), weights);
      const held: { ticket: Ticket; flow: string; samples: number; bytes: number }[] = [];
      for (const each of steps) {
        if ('release' in each) {
          held.splice(each.release % Math.max(1, held.length), 1)[0]?.ticket.release();
          continue;
        }
        const { klass, tenant, samples, bytes } = each;
        const flow = `${klass}/${tenant}`;
        const sums = (of: typeof held) => [
          of.length,
          of.reduce((sum, one) => sum + one.samples, 0),
          of.reduce((sum, one) => sum + one.bytes, 0),
        ];
        const all = sums(held);
        const mine = sums(held.filter((one) => one.flow === flow));
        const weight = weights.class[klass] * (tenant === 'big' ? 3 : 1);
        const fits = [1, samples, bytes].every((more, at) => {
          const max = Object.values(bounded)[at]!;
          return all[at]! + more <= max && mine[at]! + more <= weight * (max - all[at]!);
        });
        const admitted = admission.admit(samples, bytes, tenant, klass);
        expect(admitted.kind).toBe(held.length === 0 || fits ? 'admitted' : 'refused');
        if (admitted.kind === 'admitted') held.push({ ticket: admitted.ticket, flow, samples, bytes });
      }
      for (const { ticket } of held) ticket.release();
      expect(admission.load).toEqual({ requests: 0, samples: 0, bytes: 0 });
    }),
  );
});
