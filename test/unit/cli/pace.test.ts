import { describe, expect, it } from 'vitest';
import { clockText, Pace } from '../../../src/cli/pace.js';

describe('pace', () => {
  it('says nothing before something is done', () => {
    const pace = new Pace(5, 0);
    pace.note(5, 10_000);
    expect([pace.perSecond(10_000), pace.etaSeconds(10, 10_000)]).toEqual([undefined, undefined]);
  });

  it('does not count what an earlier run did', () => {
    const pace = new Pace(1_000, 0);
    pace.note(1_010, 5_000);
    expect(pace.perSecond(5_000)).toBe(2);
    expect(pace.etaSeconds(1_030, 5_000)).toBe(10);
  });

  it('forgets a slow start after half a minute', () => {
    const pace = new Pace(0, 0);
    // A minute for the first row, then one each 100 ms.
    pace.note(1, 60_000);
    for (let done = 2; done <= 601; done++) pace.note(done, 60_000 + done * 100);
    const nowMs = 60_000 + 60_100;
    expect(pace.perSecond(nowMs)).toBeCloseTo(10, 0);
    expect(pace.etaSeconds(701, nowMs)).toBeCloseTo(10, -1);
  });

  it('of slow work remembers as far as it takes to tell: eight done, however long that was', () => {
    const pace = new Pace(0, 0);
    for (let done = 1; done <= 100; done++) pace.note(done, done * 40_000);
    const nowMs = 100 * 40_000;
    expect(pace.perSecond(nowMs)).toBeCloseTo(1 / 40, 5);
    expect(pace.etaSeconds(200, nowMs)).toBe(4_000);
  });

  it('falls while nothing happens', () => {
    const pace = new Pace(0, 0);
    pace.note(100, 1_000);
    expect(pace.perSecond(1_000)).toBe(100);
    expect(pace.perSecond(10_000)).toBe(10);
  });

  it('is done when all is done', () => {
    const pace = new Pace(0, 0);
    pace.note(10, 1_000);
    expect(pace.etaSeconds(10, 1_000)).toBe(0);
  });
});

describe('clockText', () => {
  it.each([
    [0, '0:00'],
    [59, '0:59'],
    [61, '1:01'],
    [3_600, '1:00:00'],
    [100_000, '27:46:40'],
  ])('%d s is %s', (seconds, text) => {
    expect(clockText(seconds)).toBe(text);
  });
});
