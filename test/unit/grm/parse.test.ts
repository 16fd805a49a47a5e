import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mapScores, parseOutput } from '../../../src/grm/parse.js';
import type { SampleInvalidReason } from '../../../src/grm/sample.js';
import { limits } from '../../../src/limits.js';

function scores(text: string, n: number, finishReason = 'stop'): readonly number[] | SampleInvalidReason {
  const parsed = parseOutput(text, n, finishReason);
  return parsed.kind === 'scores' ? parsed.shownScores : parsed.reason;
}

const parts = 'Specific Criteria:\n1. Truth (100%)\nAnalysis:\nResponse 1 is right.\n';

describe('scores: forms seen in the wild', () => {
  it.each([
    ['the contract', String.raw`Scores: \boxed{8, 3}`, [8, 3]],
    ['table 17, first', String.raw`**Scores: \boxed{8, 8}**`, [8, 8]],
    ['table 17, second: doubled backslash', String.raw`Scores:\\boxed{9, 5}`, [9, 5]],
    ['table 17, third: another heading', '### Output:\n\\boxed{10, 7}', [10, 7]],
    ['table 16', String.raw`Scores: \boxed{8, 9}`, [8, 9]],
    ['table 18', String.raw`Scores: \boxed{7, 5}`, [7, 5]],
    [
      'integers per criterion before it',
      '**Response 1**\n- Truth: 7\n**Overall Score**: 8\nScores: \\boxed{8, 4}',
      [8, 4],
    ],
    ['an overall score as last heading', '**Overall Score**: 8\n\\boxed{8, 4}', [8, 4]],
    ['out of ten', String.raw`Scores: \boxed{8/10, 9/10}`, [8, 9]],
    ['out of ten as a fraction', String.raw`Scores: \boxed{\frac{8}{10}, \dfrac{9}{10}}`, [8, 9]],
    ['text macro', String.raw`Scores: \boxed{\text{8}, 9}`, [8, 9]],
    ['text macro around all', String.raw`Scores: \boxed{\text{8, 9}}`, [8, 9]],
    ['macros in macros', String.raw`Scores: \boxed{\textbf{\text{8}}, \mathbf{9}}`, [8, 9]],
    ['doubled backslashes all over', String.raw`Scores: \\boxed{\\text{8}, 9}`, [8, 9]],
    ['an end marker after it', 'Scores: \\boxed{6, 7}\n[End of Response 2]', [6, 7]],
    ['prose after it', 'Scores: \\boxed{6, 7}\nResponse 2 is better, by 1 point.', [6, 7]],
    ['fractions', String.raw`Scores: \boxed{8.5, 7.25}`, [8.5, 7.25]],
    ['a point without digits', String.raw`Scores: \boxed{8., 7}`, [8, 7]],
    ['two different boxes, the second under a heading', 'Scores: \\boxed{8, 3}\nFinal Scores: \\boxed{7, 4}', [7, 4]],
    ['a last box that is no score list', 'Scores: \\boxed{8, 3}\nThe answer is \\boxed{x^2}.', [8, 3]],
    ['a last box of another count', 'Scores: \\boxed{8, 3}\nTotal \\boxed{11}', [8, 3]],
    ['bold numbers', String.raw`Scores: \boxed{**8**, **3**}`, [8, 3]],
    ['dollars', String.raw`Scores: $\boxed{8, 3}$`, [8, 3]],
    ['dollars inside', String.raw`Scores: \boxed{$8$, $3$}`, [8, 3]],
    ['brackets', String.raw`Scores: \boxed{[8, 3]}`, [8, 3]],
    ['round brackets', String.raw`Scores: \boxed{(8, 3)}`, [8, 3]],
    ['escaped braces', String.raw`Scores: \boxed{\{8, 3\}}`, [8, 3]],
    ['LaTeX spaces', String.raw`Scores: \boxed{8,\ 3\,}`, [8, 3]],
    ['quad and ties', String.raw`Scores: \boxed{8,\quad~3}`, [8, 3]],
    ['semicolons', String.raw`Scores: \boxed{8; 3}`, [8, 3]],
    ['wide commas', 'Scores：\\boxed{8，3}', [8, 3]],
    ['a line break inside', 'Scores: \\boxed{8,\n3}', [8, 3]],
    ['a blank before the brace', String.raw`Scores: \boxed {8, 3}`, [8, 3]],
    ['no backslash', 'Scores: boxed{8, 3}', [8, 3]],
    ['a backslash eaten as an escape', 'Scores: \boxed{8, 3}', [8, 3]],
    ['a box in a box', String.raw`Scores: \boxed{\boxed{8, 3}}`, [8, 3]],
    ['markdown headings', '### Scores\n\n\\boxed{8, 3}', [8, 3]],
    ['no heading at all', String.raw`I say \boxed{8, 3}.`, [8, 3]],
    ['Windows lines', 'Analysis:\r\nfine\r\nScores:\r\n\\boxed{8, 3}\r\n', [8, 3]],
  ])('%s', (_, text, expected) => {
    expect(scores(text, 2)).toEqual(expected);
    expect(scores(parts + text, 2)).toEqual(expected);
  });

  it('one response and sixteen', () => {
    expect(scores(String.raw`Score: \boxed{7}`, 1)).toEqual([7]);
    const many = Array.from({ length: 16 }, (_, at) => (at % 10) + 1);
    expect(scores(`Scores: \\boxed{${many.join(', ')}}`, 16)).toEqual(many);
  });
});

describe('scores: what is no number stays none (P7)', () => {
  it.each<[string, string, SampleInvalidReason]>([
    ['nothing', '', 'no_box'],
    ['no box', 'Scores: 8, 3', 'no_box'],
    ['a bracket is no box', 'Scores: [8, 3]', 'no_box'],
    ['a box that never closes', String.raw`Scores: \boxed{8, 3`, 'no_box'],
    ['a boxed word', 'Scores: boxed 8, 3', 'no_box'],
    ['too few', String.raw`Scores: \boxed{8}`, 'wrong_count'],
    ['too many', String.raw`Scores: \boxed{8, 3, 5}`, 'wrong_count'],
    ['one box each', String.raw`Scores: \boxed{8}, \boxed{3}`, 'wrong_count'],
    ['empty', String.raw`Scores: \boxed{}`, 'wrong_count'],
    ['only dress', String.raw`Scores: \boxed{ \text{} }`, 'wrong_count'],
    ['above the scale', String.raw`Scores: \boxed{8, 11}`, 'out_of_range'],
    ['zero', String.raw`Scores: \boxed{0, 9}`, 'out_of_range'],
    ['negative', String.raw`Scores: \boxed{-3, 9}`, 'out_of_range'],
    ['hardly below', String.raw`Scores: \boxed{0.99, 9}`, 'out_of_range'],
    ['out of ten above ten', String.raw`Scores: \boxed{11/10, 9/10}`, 'out_of_range'],
    ['NaN', String.raw`Scores: \boxed{NaN, 9}`, 'not_a_number'],
    ['infinity', String.raw`Scores: \boxed{Infinity, 9}`, 'not_a_number'],
    ['digits beyond numbers', `Scores: \\boxed{${'9'.repeat(400)}, 9}`, 'not_a_number'],
    ['an exponent', String.raw`Scores: \boxed{1e1, 9}`, 'not_a_number'],
    ['a placeholder copied', String.raw`Scores: \boxed{x1, x2}`, 'not_a_number'],
    ['words', String.raw`Scores: \boxed{eight, three}`, 'not_a_number'],
    ['a label', String.raw`Scores: \boxed{Response 1: 8, Response 2: 3}`, 'not_a_number'],
    ['an empty place', String.raw`Scores: \boxed{8, , 3}`, 'not_a_number'],
    ['another denominator', String.raw`Scores: \boxed{4/5, 3/5}`, 'not_a_number'],
    ['a macro that computes', String.raw`Scores: \boxed{\sqrt{9}, 3}`, 'not_a_number'],
    ['blanks for commas', String.raw`Scores: \boxed{8 3}`, 'not_a_number'],
    ['a box of prose', `Scores: \\boxed{${'very good '.repeat(200)}}`, 'not_a_number'],
    ['a heading after the last box', 'Scores: \\boxed{8, 3}\nScores: \\boxed{7', 'no_box'],
    [
      'two different boxes, the second without a heading',
      'Scores: \\boxed{8, 3}\nOn reflection: \\boxed{7, 4}',
      'no_box',
    ],
    ['the last box gives the reason', 'Scores: \\boxed{8}\n\\boxed{8, 11}', 'out_of_range'],
  ])('%s', (_, text, reason) => {
    expect(scores(text, 2)).toBe(reason);
    expect(scores(parts + text, 2)).toBe(reason);
  });

  it('says what was wrong, briefly', () => {
    const parsed = parseOutput(`Scores: \\boxed{8, ${'blah '.repeat(100)}}`, 2, 'stop');
    expect(parsed).toMatchObject({ kind: 'invalid', reason: 'not_a_number' });
    expect(parsed.kind === 'invalid' && parsed.detail.length).toBeLessThan(100);
    expect(parseOutput(String.raw`\boxed{8}`, 2, 'stop')).toMatchObject({ detail: '1 scores for 2 responses' });
  });
});

describe('scores: cut generations (R5)', () => {
  it.each<[string, string, readonly number[] | SampleInvalidReason]>([
    ['before the scores', parts, 'truncated'],
    ['empty', '', 'truncated'],
    ['in the box', `${parts}Scores: \\boxed{8, 1`, 'truncated'],
    ['after the heading', `${parts}Scores:`, 'truncated'],
    ['with a quoted box in the analysis', 'Analysis:\nResponse 1 says \\boxed{10, 1} and', 'truncated'],
    ['with a quoted box and the heading', 'Analysis:\nResponse 1 says \\boxed{10, 1}\nScores: ', 'truncated'],
    ['after the scores, rambling on', `${parts}Scores: \\boxed{8, 3}\nI also want to say`, [8, 3]],
    ['after the scores, in a later box', `${parts}Scores: \\boxed{8, 3}\nor \\boxed{7`, 'truncated'],
    ['after the scores, taking them back', `${parts}Scores: \\boxed{8, 3}\nWait, I had them the wrong`, 'truncated'],
    ['after wrong scores', `${parts}Scores: \\boxed{8, 11}\nI also`, 'out_of_range'],
  ])('%s', (_, text, expected) => {
    expect(scores(text, 2, 'length')).toEqual(expected);
  });

  it.each<[string, string, readonly number[] | SampleInvalidReason]>([
    ['says that the model ended', 'stop eos end_turn eos_token STOP COMPLETE', [8, 3]],
    ['says that it was cut, in any words', 'length MAX_TOKENS max_tokens model_length', 'truncated'],
    ['says that something else ended it', 'content_filter tool_calls function_call SAFETY abort error', 'truncated'],
    ['is a word that nobody knows', 'moonshine', 'truncated'],
  ])('a finish reason that %s', (_, reasons, expected) => {
    for (const reason of reasons.split(' ')) expect(scores(String.raw`\boxed{8, 3}`, 2, reason)).toEqual(expected);
  });

  it('no finish reason says nothing against a text', () => {
    expect(scores(String.raw`\boxed{8, 3}`, 2, '')).toEqual([8, 3]);
  });
});

describe('scores: the own last score section alone (R2, P8)', () => {
  const quoted = 'Analysis:\nResponse 1 claims "Scores: \\boxed{10, 1}" for itself, and \\boxed{10, 1} again.\n';
  it('a quoted box never stands in for an invalid own one', () => {
    expect(scores(`${quoted}Scores: \\boxed{3, 11}`, 2)).toBe('out_of_range');
    expect(scores(`${quoted}Scores: \\boxed{3}`, 2)).toBe('wrong_count');
    expect(scores(`${quoted}Scores: \\boxed{3, 8}`, 2)).toEqual([3, 8]);
  });
  it('S2: after a heading without a box nothing that stands before it is taken', () => {
    expect(scores(`Scores: \\boxed{3, 8}\nScores:\nas above`, 2)).toBe('no_box');
  });
});

describe('reasoning (R6)', () => {
  it.each<[string, string, string, readonly number[] | SampleInvalidReason]>([
    ['a block', '<think>\nmaybe \\boxed{1, 1}\n</think>\nScores: \\boxed{8, 3}', 'stop', [8, 3]],
    ['an empty block', '<think>\n\n</think>\n\nScores: \\boxed{8, 3}', 'stop', [8, 3]],
    ['two blocks', '<think>a</think>\n<think>b</think>\\boxed{8, 3}', 'stop', [8, 3]],
    ['opened in the prompt', 'maybe \\boxed{1, 1}</think>\\boxed{8, 3}', 'stop', [8, 3]],
    ['other spelling', '<THINKING>x</THINKING>\\boxed{8, 3}', 'stop', [8, 3]],
    ['scores in it only', '<think>\\boxed{8, 3}</think>I am done.', 'stop', 'no_box'],
    ['never ends, cut', '<think>maybe\nScores: \\boxed{8, 3}', 'length', 'truncated'],
    ['never ends', '<think>maybe\nScores: \\boxed{8, 3}', 'stop', 'no_box'],
    ['a quoted tag', 'Response 1 leaks a <think> tag.\nScores: \\boxed{3, 8}', 'stop', [3, 8]],
    ['a quoted pair', 'Analysis:\nIt says <think>hm</think>.\nScores: \\boxed{3, 8}', 'stop', [3, 8]],
    ['a quoted end after a block', '<think>a</think>Analysis: a </think> tag\nScores: \\boxed{3, 8}', 'stop', [3, 8]],
  ])('%s', (_, text, finishReason, expected) => {
    expect(scores(text, 2, finishReason)).toEqual(expected);
  });
});

describe('principles and critique', () => {
  const cases: [string, string, string, string][] = [
    ['the contract', `Specific Criteria:\n1. Truth\nAnalysis:\nFine.\nScores: \\boxed{8, 3}`, '1. Truth', 'Fine.'],
    [
      'markdown',
      `### **Specific Criteria:**\n1. Truth\n\n**Analysis:** Fine.\n\n**Scores: \\boxed{8, 3}**`,
      '1. Truth',
      'Fine.',
    ],
    ['same line', `Specific Criteria: Truth\nAnalysis: Fine.\nScores: \\boxed{8, 3}`, 'Truth', 'Fine.'],
    ['no criteria', `Analysis:\nFine.\nScores: \\boxed{8, 3}`, '', 'Fine.'],
    ['no analysis', `Specific Criteria:\nTruth\nScores: \\boxed{8, 3}`, 'Truth', ''],
    ['no headings', `Response 1 is fine. \\\\boxed{8, 3} so there`, '', 'Response 1 is fine.'],
    ['scores first', `Scores: \\boxed{8, 3}\nAnalysis:\nFine.`, '', 'Fine.'],
    ['no scores', `Specific Criteria:\nTruth\nAnalysis:\nFine`, 'Truth', 'Fine'],
    ['after thinking', `<think>Analysis: x</think>Analysis:\nFine.\nScores: \\boxed{8, 3}`, '', 'Fine.'],
    ['analysis twice', `Analysis:\nA\nAnalysis:\nB\nScores: \\boxed{8, 3}`, '', 'A\nAnalysis:\nB'],
  ];
  it.each(cases)('%s', (_, text, principles, critique) => {
    expect(parseOutput(text, 2, 'stop')).toMatchObject({ principles, critique });
  });
});

describe('any text', () => {
  const shards = [
    '\\boxed{',
    'boxed{',
    '}',
    '{',
    '8',
    '10',
    ',',
    'Scores:',
    '\n',
    '**',
    '\\',
    '\\\\',
    '<think>',
    '</think>',
  ];
  const soup = fc
    .array(fc.oneof(fc.constantFrom(...shards, '\\text{', '\\frac{', 'Analysis:', '/10', ' '), fc.string()))
    .map((all) => all.join(''));

  it('R1, P7: never throws, and scores are always n numbers within 1..10', () => {
    fc.assert(
      fc.property(soup, fc.integer({ min: 1, max: 16 }), fc.constantFrom('stop', 'length'), (text, n, finishReason) => {
        const parsed = parseOutput(text, n, finishReason);
        if (parsed.kind === 'invalid') return;
        expect(parsed.shownScores).toHaveLength(n);
        for (const score of parsed.shownScores) expect(score >= 1 && score <= 10).toBe(true);
      }),
      { numRuns: 1_500 },
    );
  });

  it('R2, P8: whatever stands in the analysis, the result is what the own score section says, or invalid', () => {
    const own = fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(soup, own, fc.boolean(), (hostile, shown, cut) => {
        const finish = cut ? 'length' : 'stop';
        const text = (analysis: string, list: readonly number[]) =>
          `Analysis:\n${analysis}\nScores: \\boxed{${list.join(', ')}}`;
        const outcome = scores(text(hostile, shown), shown.length, finish);
        if (typeof outcome !== 'string') expect(outcome).toEqual(shown);
        expect(typeof scores(text(hostile, [...shown, 11]), shown.length, finish)).toBe('string');
        // A line that is whole before it leaves nothing in doubt.
        const whole = `${hostile.replace(/[<[]\/?think(ing)?[>\]]/gi, '').replace(/```|~~~/g, '')}\nThat is all.`;
        expect(scores(text(whole, shown), shown.length, finish)).toEqual(shown);
        expect(scores(text(whole, [...shown, 11]), shown.length, finish)).toBe('wrong_count');
      }),
      { numRuns: 1_500 },
    );
  });

  it('R3: sentences without boxes after the scores do not matter', () => {
    const sentence = fc.constantFrom(
      'Response 2 is shorter.',
      'Note: both are polite!',
      '- It names 3 sources.',
      '[End of Response 2]',
      '',
      '---',
      'Die Antworten sind gut.',
      '以上。',
    );
    fc.assert(
      fc.property(fc.array(sentence, { maxLength: 6 }), fc.integer({ min: 1, max: 10 }), (prose, score) => {
        expect(scores(`Scores: \\boxed{${score}}\n${prose.join('\n')}`, 1)).toEqual([score]);
      }),
    );
  });

  it.each([
    '\\boxed{',
    '\\boxed{}',
    '\\boxed{8, ',
    '{',
    '}',
    ' ',
    '\n',
    '#',
    '# ',
    '-*-*',
    '\\',
    '\\boxed{\\\\\\\\\\',
    '<think>',
    '</think>',
    '<',
    'Scores:',
    'Scores: ',
    '**Scores',
    'Analysis:\n',
    'Scores:\\boxed{',
    '9',
    '\\text{',
    'boxed ',
    '1.\t',
    `\\boxed{${'\\text{'.repeat(100)}${'}'.repeat(101)}`,
    `\\boxed{${'\\'.repeat(500)}}`,
    `\\boxed{${'\\frac{8}'.repeat(60)}}`,
    `\\boxed{${' '.repeat(1_000)}8 ,}`,
    `\\boxed{9${' '.repeat(1_000)}9}`,
    `\\boxed{9${' \u2003'.repeat(500)}/}`,
  ])('R1: 256 KiB of %j are read in linear time', (piece) => {
    // A quadratic pass over 256 KiB is 3.4e10 steps: the runner's time limit would end it.
    const text = piece.repeat(Math.ceil(limits.sampleTextBytesMax / piece.length));
    for (const finishReason of ['stop', 'length']) expect(parseOutput(text, 2, finishReason).kind).toBe('invalid');
    expect(scores(`${text}\nScores: \\boxed{8, 3}`, 2)).toEqual(piece.includes('<think>') ? 'no_box' : [8, 3]);
  });
});

/** Characters that the parser's own loops and searches look at; what its patterns do is bounded by how they are written. */
function steps(text: string): number {
  const { charCodeAt, indexOf, lastIndexOf } = Object.getOwnPropertyDescriptors(String.prototype);
  let count = 0;
  const counting = {
    charCodeAt(this: string, at: number): number {
      count += 1;
      return charCodeAt.value!.call(this, at);
    },
    indexOf(this: string, what: string, from = 0): number {
      const found = indexOf.value!.call(this, what, from);
      count += (found < 0 ? this.length : found) - from + 1;
      return found;
    },
    lastIndexOf(this: string, what: string, from = this.length): number {
      const found = lastIndexOf.value!.call(this, what, from);
      count += Math.min(from, this.length) - found + 1;
      return found;
    },
  };
  Object.assign(String.prototype, counting);
  try {
    parseOutput(text, 2, 'stop');
  } finally {
    Object.defineProperties(String.prototype, { charCodeAt, indexOf, lastIndexOf });
  }
  return count;
}

describe('R1: counted', () => {
  const hostile = [
    '\\boxed{',
    'boxed ',
    'oxed',
    '\\boxed{8',
    '\\boxed{9, x}',
    '{{{',
    '}',
    '\n',
    'Scores:\n',
    '<think></think>',
    '# \n',
    '\\boxed{1}\n',
  ];
  it.each(hostile)('four times %j is four times the work', (piece) => {
    const of = (chars: number): number => steps(piece.repeat(Math.ceil(chars / piece.length)));
    const small = of(16_384);
    expect(small).toBeGreaterThan(0);
    expect(of(65_536)).toBeLessThan(4.5 * small + 1_000);
  });

  it('any mixture of them, and what stands between (property)', () => {
    const mixture = fc.array(fc.oneof(fc.constantFrom(...hostile), fc.string({ maxLength: 4 })), {
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(mixture, (pieces) => {
        const piece = pieces.join('') || 'x';
        const of = (chars: number): number => steps(piece.repeat(Math.ceil(chars / piece.length)));
        expect(of(16_384)).toBeLessThan(4.5 * of(4_096) + 1_000);
      }),
      { numRuns: 200, seed: 20_261_126 },
    );
  });
});

describe('mapScores', () => {
  it('puts scores back into the order of the request', () => {
    expect(mapScores([9, 5], [1, 0])).toEqual([5, 9]);
    expect(mapScores([7, 8, 9], [2, 0, 1])).toEqual([8, 9, 7]);
  });

  it('inverts any order', () => {
    const order = fc
      .integer({ min: 1, max: 16 })
      .chain((n) => fc.shuffledSubarray([...Array(n).keys()], { minLength: n, maxLength: n }));
    fc.assert(
      fc.property(order, (permutation) => {
        const true_ = permutation.map((_, response) => response * 10);
        const shown = permutation.map((response) => true_[response]!);
        expect(mapScores(shown, permutation)).toEqual(true_);
      }),
    );
  });
});
