// Parse: what a generation says, in the format that templates/ ask for.
//
//   R1. No text makes it throw; time is linear in the text.
//   R2. Only the judge's own score section is read (promise P8): score-section.ts says which box that is, and when none is certain.
//   R3. A box that reads as exactly n numbers within 1..10 gives the scores (box.ts).
//   R4. When no box does, the reason is the last own box's; `no_box` when the judge has none of its own. A box that is never closed is none.
//   R5. A generation that was cut (finish.ts) must have reached its scores: a valid box has to follow the very last score heading. Otherwise it is
//       `truncated`, even if some box stands earlier: that one may be a quotation.
//   R6. Reasoning is not judgement: it is dropped before anything is read (reasoning.ts).

import { findBoxes } from './boxes.js';
import { finishOf } from './finish.js';
import { withoutReasoning, type ReasoningMarkers } from './reasoning.js';
import type { SampleInvalidReason } from './sample.js';
import { readOwnScores, type ScoreHeading } from './score-section.js';
import { heading } from './score-words.js';

interface Parts {
  /** Empty when the text has no such heading. */
  readonly principles: string;
  /** Without an `Analysis:` heading: all that stands before the scores and is no principles. */
  readonly critique: string;
}

export type Parsed = Parts &
  (
    | { readonly kind: 'scores'; readonly shownScores: readonly number[] }
    | { readonly kind: 'invalid'; readonly reason: SampleInvalidReason; readonly detail: string }
  );

interface Layout {
  /** Where each part's own text begins; -1 when there is no such heading. */
  readonly principlesAt: number;
  readonly critiqueAt: number;
  /** Where the critique's heading itself begins. */
  readonly critiqueHeadAt: number;
  readonly lastScores: ScoreHeading | undefined;
  /** The first heading of another part after the last one of scores; else the text's length. */
  readonly scoresEnd: number;
}

const fence = /[ \t]{0,8}(?:```|~~~)/y;
const indent = /(?: {4}| {0,3}\t)/y;

/** Finds the headings. */
function layOut(text: string): Layout {
  let principlesAt = -1;
  let critiqueAt = -1;
  let critiqueHeadAt = -1;
  let lastScores: ScoreHeading | undefined;
  let scoresEnd = text.length;
  /** Of a code block that the text is in. */
  let fenced = false;
  let wholeIsFenced = false;
  let indentedBefore = true;
  for (let line = 0; line >= 0; line = nextLine(text, line)) {
    indent.lastIndex = line;
    const indented = indent.test(text);
    fence.lastIndex = line;
    if (fence.test(text)) {
      fenced = !fenced;
      wholeIsFenced ||= fenced && text.slice(0, line).trim() === '';
    }
    heading.lastIndex = line;
    const found = heading.exec(text);
    if (found?.[1] !== undefined) {
      if (principlesAt < 0 && critiqueAt < 0) principlesAt = heading.lastIndex;
    } else if (found?.[2] !== undefined) {
      if (critiqueAt < 0) {
        critiqueAt = heading.lastIndex;
        critiqueHeadAt = found.index;
      }
    } else if (found !== null) {
      const setOff = (fenced && !wholeIsFenced) || (indented && !indentedBefore);
      lastScores = { at: found.index, end: heading.lastIndex, setOff };
      scoresEnd = text.length;
    }
    if (found !== null && found[3] === undefined && found[4] === undefined && lastScores !== undefined)
      scoresEnd = Math.min(scoresEnd, line);
    if (text.charCodeAt(line) !== newline) indentedBefore = indented;
  }
  return { principlesAt, critiqueAt, critiqueHeadAt, lastScores, scoresEnd };
}

const newline = 10;

/** Where the line after the one at `from` begins, or -1. Looking at line beginnings alone makes this several times faster than a search. */
function nextLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? -1 : end + 1;
}

/** Cuts principles and critique out of the text; the scores begin at `scoresAt`. */
function partsOf(text: string, layout: Layout, scoresAt: number): Parts {
  const endAfter = (start: number) => (scoresAt >= start ? scoresAt : text.length);
  const { principlesAt, critiqueAt, critiqueHeadAt } = layout;
  if (critiqueAt >= 0) {
    const critique = text.slice(critiqueAt, endAfter(critiqueAt)).trim();
    return { principles: principlesAt < 0 ? '' : text.slice(principlesAt, critiqueHeadAt).trim(), critique };
  }
  if (principlesAt >= 0) return { principles: text.slice(principlesAt, endAfter(principlesAt)).trim(), critique: '' };
  return { principles: '', critique: text.slice(0, scoresAt).trim() };
}

/**
 * Reads a generation that judged `n` responses.
 *
 * `shownScores` stand in the order shown to the model. `finishReason` is the engine's word; what matters is whether the text was cut.
 */
export function parseOutput(
  text: string,
  n: number,
  finishReason: string,
  reasoning?: readonly ReasoningMarkers[],
): Parsed {
  const finish = finishOf(finishReason);
  const cut = finish === 'cut' || finish === 'gave_up';
  const said = withoutReasoning(text, reasoning);
  if (said === undefined) {
    const reason = cut ? 'truncated' : 'no_box';
    return { kind: 'invalid', reason, detail: 'the reasoning never ends', principles: '', critique: '' };
  }
  const boxes = findBoxes(said);
  const layout = layOut(said);
  const { lastScores, scoresEnd } = layout;
  const parts = partsOf(said, layout, lastScores?.at ?? boxes.at(-1)?.at ?? said.length);
  const own = readOwnScores({ text: said, n, cut, boxes, heading: lastScores, sectionEnd: scoresEnd });
  return own.kind === 'scores' ? { kind: 'scores', shownScores: own.scores, ...parts } : { ...own, ...parts };
}

/** Scores in the request's order, from scores in the order shown: `permutation[place]` is the response shown in that place. */
export function mapScores(shown: readonly number[], permutation: readonly number[]): number[] {
  const scores = new Array<number>(permutation.length);
  for (let place = 0; place < permutation.length; place += 1) scores[permutation[place]!] = shown[place]!;
  return scores;
}
