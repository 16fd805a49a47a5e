// Parse: what a generation says, in the format that templates/ ask for.
//
//   R1. No text makes it throw; time is linear in the text.
//   R2. Only the model's own last score section is read (promise P8): once the text has a line that begins with "Scores:" and a box follows,
//       boxes before it (quoted from a response, say) count for nothing. Without such a line every box is looked at.
//   R3. There, the LAST box that reads as exactly n numbers within 1..10 gives the scores; text after it does not matter.
//   R4. When no box does, the reason is the last box's; `no_box` when there is none. A box that is never closed is none.
//   R5. A generation cut by its token limit (finish reason "length") must have reached its scores: a valid box has to follow the very last
//       "Scores:" line. Otherwise it is `truncated`, even if some box stands earlier: that one may be a quotation.
//   R6. Reasoning is not judgement: a leading <think> block, or what stands before a </think> whose beginning stood in the prompt, is dropped.

import { readBox } from './box.js';
import type { SampleInvalidReason } from './sample.js';

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

/**
 * A part's heading at the beginning of a line, in plain text or Markdown ("### Analysis:", "**Scores:", "3. Scores"). All repetition is bounded:
 * one pass is linear in the text.
 */
const heading =
  /[ \t#>*_.()\d-]{0,24}(?:((?:specific )?(?:criteria|principles))|(analysis|critique)|(?:final |overall )?scores?)[ \t*_]{0,8}(?:[:：]|$|(?=\\))[ \t*_]{0,8}/imy;

const thinkTag = /<(\/?)think(?:ing)?>/gi;

interface Layout {
  /** Where each part's own text begins; -1 when there is no such heading. */
  readonly principlesAt: number;
  readonly critiqueAt: number;
  /** Where these headings themselves begin: the critique's, the score heading that counts (R2), the very last score heading (R5). */
  readonly critiqueHeadAt: number;
  readonly scoresHeadAt: number;
  readonly lastScoresHeadAt: number;
}

/** Finds the headings; `lastBoxAt` is where the last closed box stands, or -1. */
function layOut(text: string, lastBoxAt: number): Layout {
  const layout = { principlesAt: -1, critiqueAt: -1, critiqueHeadAt: -1, scoresHeadAt: -1, lastScoresHeadAt: -1 };
  for (let line = 0; line >= 0; line = nextLine(text, line)) {
    heading.lastIndex = line;
    const found = heading.exec(text);
    if (found === null) continue;
    if (found[1] !== undefined) {
      if (layout.principlesAt < 0 && layout.critiqueAt < 0) layout.principlesAt = heading.lastIndex;
    } else if (found[2] !== undefined) {
      if (layout.critiqueAt < 0) {
        layout.critiqueAt = heading.lastIndex;
        layout.critiqueHeadAt = found.index;
      }
    } else {
      layout.lastScoresHeadAt = found.index;
      if (found.index < lastBoxAt) layout.scoresHeadAt = found.index;
    }
  }
  return layout;
}

/** Where the line after the one at `from` begins, or -1. Looking at line beginnings alone makes this several times faster than a search. */
function nextLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? -1 : end + 1;
}

/** What was said, less the reasoning (R6); undefined when the reasoning never ends. */
function withoutThinking(text: string): string | undefined {
  let from = 0;
  thinkTag.lastIndex = 0;
  for (let found = thinkTag.exec(text); found !== null; found = thinkTag.exec(text)) {
    if (found[1] === '/') {
      // Only the first tag of a text can close what the prompt opened; a later one is quoted.
      return from === 0 ? text.slice(thinkTag.lastIndex) : text.slice(from);
    }
    if (text.slice(from, found.index).trim() !== '') break;
    let close = thinkTag.exec(text);
    while (close !== null && close[1] !== '/') close = thinkTag.exec(text);
    if (close === null) return undefined;
    from = thinkTag.lastIndex;
  }
  return from === 0 ? text : text.slice(from);
}

interface Box {
  /** Where "boxed" begins. */
  readonly at: number;
  readonly content: string;
}

/**
 * The last closed box that begins before `end`, or undefined. A box has to close before `end`, where the next one begins; that keeps a walk over
 * all boxes linear. The backslash is not asked for: escaping may have doubled it, or eaten it together with the b.
 */
function boxBefore(text: string, end: number): Box | undefined {
  let limit = end;
  for (let at = text.lastIndexOf('oxed', end); at > 0; at = text.lastIndexOf('oxed', at - 1)) {
    const before = text.charCodeAt(at - 1);
    if (before !== letterB && before !== backspace) continue;
    let open = at + 4;
    while (text.charCodeAt(open) === blank) open += 1;
    if (text.charCodeAt(open) !== openBrace) continue;
    const close = closeOf(text, open, limit);
    if (close >= 0) return { at: at - 1, content: text.slice(open + 1, close) };
    limit = at - 1;
  }
  return undefined;
}

const letterB = 98;
/** What "\b" in "\boxed" becomes when a program reads it as an escape sequence. */
const backspace = 8;
const blank = 32;
const openBrace = 123;
const closeBrace = 125;
const backslash = 92;

/** Where the brace opened at `open` closes before `end`, or -1. */
function closeOf(text: string, open: number, end: number): number {
  let depth = 0;
  for (let at = open; at < end; at += 1) {
    const code = text.charCodeAt(at);
    if (code === openBrace) depth += 1;
    else if (code === closeBrace) {
      depth -= 1;
      if (depth === 0) return at;
    }
  }
  return -1;
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

function startOfBox(text: string, at: number): number {
  let start = at;
  while (start > 0 && text.charCodeAt(start - 1) === backslash) start -= 1;
  return start;
}

/**
 * Reads a generation that judged `n` responses.
 *
 * `shownScores` stand in the order shown to the model. `finishReason` is the engine's word; only "length" (token limit) matters here.
 */
export function parseOutput(text: string, n: number, finishReason: string): Parsed {
  const cut = finishReason === 'length';
  const said = withoutThinking(text);
  if (said === undefined) {
    const reason = cut ? 'truncated' : 'no_box';
    return { kind: 'invalid', reason, detail: 'the reasoning never ends', principles: '', critique: '' };
  }
  const lastBox = boxBefore(said, said.length);
  const layout = layOut(said, lastBox?.at ?? -1);
  const headAt = cut ? layout.lastScoresHeadAt : layout.scoresHeadAt;
  const scoresAt = headAt >= 0 ? headAt : lastBox === undefined ? said.length : startOfBox(said, lastBox.at);
  const parts = partsOf(said, layout, scoresAt);

  if (cut && (headAt < 0 || lastBox === undefined || lastBox.at < headAt)) {
    return { kind: 'invalid', reason: 'truncated', detail: 'the token limit came before the scores', ...parts };
  }
  if (lastBox === undefined)
    return { kind: 'invalid', reason: 'no_box', detail: 'the text holds no closed box', ...parts };

  const last = readBox(lastBox.content, n);
  if (last.kind === 'scores') return { kind: 'scores', shownScores: last.scores, ...parts };
  for (let box = boxBefore(said, lastBox.at); box !== undefined && box.at > headAt; box = boxBefore(said, box.at)) {
    const read = readBox(box.content, n);
    if (read.kind === 'scores') return { kind: 'scores', shownScores: read.scores, ...parts };
  }
  return { ...last, ...parts };
}

/** Scores in the request's order, from scores in the order shown: `permutation[place]` is the response shown in that place. */
export function mapScores(shown: readonly number[], permutation: readonly number[]): number[] {
  const scores = new Array<number>(permutation.length);
  for (let place = 0; place < permutation.length; place += 1) scores[permutation[place]!] = shown[place]!;
  return scores;
}
