import fc from 'fast-check';
import type { Token } from 'node-llama-cpp';
import { expect, test } from 'vitest';
import { oddsOf } from '../../../src/engine/llama-yesno.js';

const logit = fc.double({ min: -50, max: 50, noNaN: true });
const token = (id: number): Token => id as Token;

test('one token each: the difference of the logits, also where probabilities would vanish', () => {
  fc.assert(
    fc.property(logit, logit, (yes, no) => {
      const logits = new Map([
        [token(1), yes * 20],
        [token(2), no * 20],
      ]);
      expect(oddsOf(logits, { yes: [token(1)], no: [token(2)] })).toBeCloseTo((yes - no) * 20, 9);
    }),
  );
});

test('spellings add up as probabilities, and the answers are each other turned round', () => {
  fc.assert(
    fc.property(fc.tuple(logit, logit, logit, logit), (values) => {
      const logits = new Map(values.map((value, id) => [token(id), value]));
      const yes = [token(0), token(1)];
      const no = [token(2), token(3)];
      const [a, b, c, d] = values.map(Math.exp) as [number, number, number, number];
      expect(oddsOf(logits, { yes, no })).toBeCloseTo(Math.log((a + b) / (c + d)), 6);
      expect(oddsOf(logits, { yes, no })).toBeCloseTo(-oddsOf(logits, { yes: no, no: yes }), 9);
    }),
  );
});
