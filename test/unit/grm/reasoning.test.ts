import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseOutput } from '../../../src/grm/parse.js';
import { reasoningDefaults, reopened, withoutReasoning } from '../../../src/grm/reasoning.js';

const draft = 'A draft.\nScores: \\boxed{1, 9}\nNo, they are the wrong way round.';
const judgement = 'Analysis: fine.\nScores: \\boxed{8, 3}';
const shown = (text: string, finish = 'stop') => {
  const parsed = parseOutput(text, 2, finish);
  return parsed.kind === 'scores' ? parsed.shownScores : parsed.reason;
};

describe('reasoning between markers (G1)', () => {
  it.each(reasoningDefaults)('$open ... $close', ({ open, close }) => {
    for (const dress of [open, open.toUpperCase(), `\n ${open}\n`]) {
      expect(shown(`${dress}${draft}${close}${judgement}`)).toEqual([8, 3]);
      expect(shown(`${dress}${draft}\n${close}\nI cannot say.`)).toBe('no_box');
      expect(shown(`${dress}${draft}`)).toBe('no_box');
      expect(shown(`${dress}${draft}`, 'length')).toBe('truncated');
      expect(shown(`${dress}${draft}${close}\nHm.\n${open}${draft}`)).toBe('no_box');
      expect(shown(`${dress}${draft}${close}\nHm.\n${open}${draft}${close}\n${judgement}`)).toEqual([8, 3]);
    }
  });

  it('only its own marker closes a block', () => {
    expect(withoutReasoning('<think>it quotes </thought> and [/THINK]</think>said')).toBe('said');
    expect(withoutReasoning('[THINK]it quotes </think>')).toBeUndefined();
  });

  it("G1: markers of a list of one's own, and of none", () => {
    const own = [{ open: '{{hm}}', close: '{{/hm}}' }];
    expect(withoutReasoning(`{{hm}}a{{/hm}}said`, own)).toBe('said');
    expect(withoutReasoning(`<think>a</think>said`, own)).toBe('<think>a</think>said');
    expect(withoutReasoning(`analysisDraft`, own)).toBe('analysisDraft');
    expect(withoutReasoning(`<think>a`, [])).toBe('<think>a');
  });
});

describe('channels whose markers were left out (G4)', () => {
  it.each<[string, string | undefined]>([
    [`analysis${draft}assistantfinal${judgement}`, judgement],
    [`analysis${draft}assistantcommentaryassistantfinal${judgement}`, judgement],
    [`analysis${draft}`, undefined],
    [`thought\n${draft}`, undefined],
    [`analysis: ${draft}`, `analysis: ${draft}`],
    [`Analysis: fine.`, `Analysis: fine.`],
    [`analysis of both: fine.`, `analysis of both: fine.`],
  ])('%j', (text, said) => {
    expect(withoutReasoning(text)).toBe(said);
  });
});

describe('a closing marker alone (G2, G3)', () => {
  it('ends what the prompt opened', () => {
    for (const { close } of reasoningDefaults) {
      expect(shown(`${draft}\n${close}\n${judgement}`)).toEqual([8, 3]);
      expect(shown(`${draft}\n${close}\nI cannot say.`)).toBe('no_box');
      expect(shown(`${draft}${close}I cannot say.`)).toBe('no_box');
    }
  });

  it.each([
    'Note: response 1 leaks a stray </think> tag.',
    'Note: response 1 ends with </think>.',
    'Note: response 1 ends with </think>',
    'Note: response 1 has "</think>" in it.',
    'Note: response 1 has `[/THINK]`, which I pass over.',
    'Note: it says <think>hm</think> twice.',
    'Note: response 1 uses the marker <channel|> for itself.',
  ])('costs no judgement where it is quoted: %s', (note) => {
    expect(shown(`${judgement}\n${note}`)).toEqual([8, 3]);
    expect(shown(`<think>hm</think>${judgement}\n${note}`)).toEqual([8, 3]);
    expect(shown(`Analysis: fine.\n${note}\nScores: \\boxed{8, 3}`)).toEqual([8, 3]);
  });

  it('G2, G3: whatever stands around markers, no score comes from before the last one that counts', () => {
    const markers = reasoningDefaults.flatMap(({ open, close }) => [open, close]);
    const soup = fc.array(
      fc.oneof(fc.constantFrom(...markers, '\n', ' ', 'a ', '.', '"'), fc.string({ maxLength: 4 })),
    );
    fc.assert(
      fc.property(soup, soup, (before, after) => {
        const text = `<think>${before.join('')}\nScores: \\boxed{1, 9}\n</think>\n${after.join('').replaceAll('ox', '')}`;
        expect(typeof shown(text)).toBe('string');
      }),
      { numRuns: 500 },
    );
  });
});

describe('a prompt that opens the reasoning', () => {
  it('puts the marker before a text that begins inside of it', () => {
    expect(reopened('hm</think>said')).toBe('<think>\nhm</think>said');
    expect(reopened('hm[/THINK]said')).toBe('[THINK]\nhm[/THINK]said');
    expect(reopened(`hm`)).toBe('<think>\nhm');
    expect(reopened(' <think>hm</think>said')).toBe(' <think>hm</think>said');
    expect(reopened('hm', [])).toBe('hm');
  });

  it('a text without the closing marker is reasoning that never ended, complete or cut', () => {
    expect(shown(reopened(judgement))).toBe('no_box');
    expect(shown(reopened(draft), 'length')).toBe('truncated');
    expect(shown(reopened(`${draft}</think>${judgement}`))).toEqual([8, 3]);
  });
});

it('G5: 256 KiB of markers are read in linear time', () => {
  for (const { open, close } of reasoningDefaults.slice(0, 2))
    for (const piece of [
      open,
      close,
      `${open}${close}`,
      `a ${close} `,
      `a ${close}\n`,
      `${close}\n`,
      `\n${open}`,
      `"${close}" `,
    ])
      withoutReasoning(piece.repeat(Math.ceil(262_144 / piece.length)));
});

it.each([
  '<think>\nI must write `</think>` then.\nScores: \\boxed{1, 1}',
  '<think>\nI must write "</think>" then.\nScores: \\boxed{1, 1}\nNo wait',
  '<think>\nI must write </think> at the end. Draft:\nScores: \\boxed{1, 1}',
])('a closing marker that open reasoning quotes does not end it: %j', (text) => {
  expect(parseOutput(text, 2, 'stop')).toMatchObject({ kind: 'invalid' });
  const whole = `${text}\n</think>\nScores: \\boxed{9, 2}`;
  expect(parseOutput(whole, 2, 'stop')).toMatchObject({ kind: 'scores', shownScores: [9, 2] });
});
