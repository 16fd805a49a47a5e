import { describe, expect, it } from 'vitest';
import type { Verdict } from '../../../src/grm/verdict.js';
import { vote } from '../../../src/grm/vote.js';
import { limits } from '../../../src/limits.js';
import { sampleAt, verdictAt } from '../../../src/rpc/detail.js';
import { verdictFromProto } from '../../../src/wire/convert.js';
import { KeptReason } from '../../../src/wire/gen/grm/v1/judgement.js';
import { Detail, ScoreResponse } from '../../../src/wire/gen/grm/v1/reward.js';
import { plan, scored, voteInput } from '../../support/judgement.js';

function verdictWith(k: number, text: string): Verdict {
  const samples = Array.from({ length: k }, (_, index) =>
    scored(index, [8, 3], { text, principles: text, critique: text }),
  );
  return vote(voteInput({ plan: plan({ k }), n: 2, samples }));
}

function encodedBytes(verdict: Verdict, detail: Detail): number {
  const sent = verdictAt(verdict, detail);
  return ScoreResponse.encode({ verdict: sent.value, detail: sent.detail }).finish().length;
}

describe('detail', () => {
  const verdict = verdictWith(4, 'because');

  it('FULL is everything', () => {
    const sent = verdictAt(verdict, Detail.FULL);
    expect(sent.detail).toBe(Detail.FULL);
    expect(verdictFromProto(sent.value)).toEqual(verdict);
  });

  it('SCORES leaves out the texts of samples and nothing else', () => {
    const sent = verdictAt(verdict, Detail.SCORES);
    expect(sent.detail).toBe(Detail.SCORES);
    expect(verdictFromProto(sent.value)).toEqual(verdictWith(4, ''));
  });

  it('REWARDS leaves out the samples and nothing else', () => {
    const sent = verdictAt(verdict, Detail.REWARDS);
    expect(sent.detail).toBe(Detail.REWARDS);
    expect(verdictFromProto(sent.value)).toEqual({ ...verdict, samples: [] });
  });

  it.each([
    ['ASCII', 'x'],
    ['three bytes a character', '€'],
    ['four bytes a pair', '🧮'],
  ])('falls back to SCORES, and says so, only where FULL does not fit a message: %s', (_words, unit) => {
    const perText = (bytes: number) => unit.repeat(Math.floor(bytes / Buffer.byteLength(unit)));
    const fits = verdictWith(16, perText(limits.grpcMessageBytesMax / (16 * 3) - 2_000));
    expect(verdictAt(fits, Detail.FULL).detail).toBe(Detail.FULL);
    expect(encodedBytes(fits, Detail.FULL)).toBeLessThanOrEqual(limits.grpcMessageBytesMax);
    const tooBig = verdictWith(16, perText(limits.grpcMessageBytesMax / (16 * 3) + 1));
    const sent = verdictAt(tooBig, Detail.FULL);
    expect(sent.detail).toBe(Detail.SCORES);
    expect(sent.value.samples.every((sample) => sample.text === '' && sample.scores.length === 2)).toBe(true);
  });

  it('makes room for what else stands in the message', () => {
    const big = verdictWith(16, 'x'.repeat(100_000));
    expect(verdictAt(big, Detail.FULL).detail).toBe(Detail.FULL);
    expect(verdictAt(big, Detail.FULL, limits.contentBytesMax).detail).toBe(Detail.SCORES);
  });

  it('the largest verdict that the limits allow fits at SCORES', () => {
    const samples = Array.from({ length: limits.kMax }, (_, index) =>
      scored(index, Array<number>(limits.responsesMax).fill(8.5), {
        worker: 'w'.repeat(64),
        model: 'm'.repeat(256),
        engine: 'e'.repeat(256),
      }),
    );
    const largest = vote(voteInput({ plan: plan({ k: limits.kMax }), n: limits.responsesMax, samples }));
    expect(encodedBytes(largest, Detail.SCORES)).toBeLessThan(limits.grpcMessageBytesMax / 4);
  });

  it('a watched sample is not voted on yet', () => {
    const judged = { sample: scored(3, [8, 3], { text: 'why' }), metaReward: -1.5, kept: 'kept' } as const;
    expect(sampleAt(judged, Detail.FULL)).toMatchObject({
      index: 3,
      kept: KeptReason.UNSPECIFIED,
      metaReward: -1.5,
      text: 'why',
    });
    expect(sampleAt(judged, Detail.SCORES)).toMatchObject({ scores: [8, 3], text: '', critique: '' });
  });
});
