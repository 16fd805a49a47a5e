// Score section: which box of a text is the judge's own (promise P8). A judge quotes: the answer's \boxed{42}, or a response that grades itself.
//
//   S1. A box counts only in the judge's own score section: after the last score heading of its own, or on the last line that is not blank.
//   S2. A score heading after the last box means that the judge gave no box: what stands before it is never taken instead.
//   S3. In the section the first readable box counts that follows its heading at once, stands alone, or ends a sentence in the judge's own
//       voice. Later boxes in prose ("Note: the answer is \boxed{4}.") do not replace it; a new heading does.
//   S4. What is not certain is invalid. A section is in doubt when the line before it introduces a quotation, when it stands in a code block that
//       the text goes on after, when what follows goes on with a sentence, speaks of it as of something quoted, takes it back, states other scores, or
//       offers another box in the judge's own voice.
//   S5. A text that was cut needs a heading: its last line is only where it was cut.
//   S6. Time is linear: each line is looked at once, each box's line up to a bound, and at most `boxesMax` boxes of a section.

import type { Box } from './boxes.js';
import { readBox } from './box.js';
import type { SampleInvalidReason } from './sample.js';
import * as say from './score-words.js';

export interface ScoreHeading {
  readonly at: number;
  /** Where the text after it begins. */
  readonly end: number;
  /** It stands in a code block, fenced or indented, and not because the whole answer does. */
  readonly setOff: boolean;
}

export type OwnScores =
  | { readonly kind: 'scores'; readonly scores: readonly number[] }
  | { readonly kind: 'invalid'; readonly reason: SampleInvalidReason; readonly detail: string };

export interface SectionCase {
  readonly text: string;
  readonly n: number;
  /** The generation was cut. */
  readonly cut: boolean;
  readonly boxes: readonly Box[];
  /** The last one. */
  readonly heading: ScoreHeading | undefined;
  /** Where the part after the section begins ("Analysis:" after the scores), or the text ends. */
  readonly sectionEnd: number;
}

/** A section with more boxes is no score section. */
const boxesMax = 64;
/** How far back a box's sentence is looked at. */
const lineCharsMax = 240;
const labelCharsMax = 40;
const wordsCharsMax = 24;

type Voice = 'attached' | 'alone' | 'own' | 'other';

interface OwnBox {
  readonly box: Box;
  readonly voice: Voice;
}

const none = (cut: boolean, detail: string): OwnScores => ({
  kind: 'invalid',
  reason: cut ? 'truncated' : 'no_box',
  detail,
});

/** The scores that the judge itself gave, in the order shown. */
export function readOwnScores(given: SectionCase): OwnScores {
  const { text, n, cut, boxes } = given;
  const last = boxes.at(-1);
  const closing = closingHeading(given);
  const of = closing === undefined ? given : { ...given, heading: closing, sectionEnd: text.length };
  const { heading } = of;
  if (cut && (heading === undefined || last === undefined || last.at < heading.at))
    return none(cut, 'the generation was cut before its scores');
  if (last === undefined) return none(cut, 'the text holds no closed box');
  if (heading !== undefined && last.at < heading.at) return none(cut, 'a score heading stands after the last box');
  const section = ownBoxes(of);
  if (section === undefined) return none(cut, `a score section of more than ${boxesMax} boxes`);
  const own = section.filter(({ voice }) => voice !== 'other');
  const reads = own.map(({ box }) => readBox(box.content, n));
  const at = reads.findIndex(({ kind }) => kind === 'scores');
  const found = reads[at];
  if (found?.kind !== 'scores')
    return (
      reads.at(-1) ?? none(cut, 'no box stands in a score section of the judge itself: what there is may be quoted')
    );
  const doubt = doubtOf(of, own[at]!, found.scores, section);
  return doubt === undefined ? { kind: 'scores', scores: found.scores } : none(cut, doubt);
}

/** A heading in any words that the last line's box follows at once: "### Output:", "Final:". */
function closingHeading({ text, n, cut, boxes, heading }: SectionCase): ScoreHeading | undefined {
  const last = boxes.at(-1);
  const lineAt = lastLine(text);
  if (cut || last === undefined || last.end < lineAt || last.at <= (heading?.end ?? -1)) return undefined;
  const prefix = prefixOf(text, last.at);
  const start = last.at - prefix.length;
  const label = undress(prefix);
  if (label !== '') return closingLabel.test(label) ? { at: start, end: last.at, setOff: false } : undefined;
  const { line } = lineBefore(text, start);
  const words = undress(line);
  if (!(/^\s{0,3}#{1,6}\s/.test(line) || closingLabel.test(words)) || words.length > labelCharsMax) return undefined;
  if (say.judged.test(words) || (n === 1 && say.solution.test(words))) return undefined;
  const end = text.lastIndexOf(line, start) + line.length;
  const at = end - line.length;
  return at > (heading?.at ?? -1) ? { at, end, setOff: false } : undefined;
}

const closingLabel =
  /^(?:my |the |final |overall ){0,3}(?:output|final|verdict|decision|judge?ment)[\s*_]{0,4}[:：]?[\s*_]{0,4}$/i;

/** Boxes of the section, with whose they are; undefined when they are too many. */
function ownBoxes({ text, n, cut, boxes, heading, sectionEnd }: SectionCase): OwnBox[] | undefined {
  const lastLineAt = lastLine(text);
  const from = heading?.end ?? lastLineAt;
  const section: OwnBox[] = [];
  let first = boxes.length;
  while (first > 0 && boxes[first - 1]!.at >= Math.min(from, lastLineAt)) first -= 1;
  if (boxes.length - first > boxesMax) return undefined;
  let attachable = heading?.end ?? -1;
  for (const box of boxes.slice(first)) {
    const inSection = heading !== undefined && box.at >= heading.end && box.at < sectionEnd;
    if (!inSection && box.at < lastLineAt) continue;
    if (inSection && attachable >= 0 && between.test(text.slice(attachable, box.at))) {
      section.push({ box, voice: 'attached' });
    } else {
      const voice = voiceOf(text, box, n, heading !== undefined);
      section.push({ box, voice: !inSection && cut ? 'other' : voice });
    }
    attachable = -1;
  }
  return section;
}

/** What may stand between a heading and its box. */
const between = /^(?:```\w{0,12}\n|~~~\w{0,12}\n|\\{1,2}[[(]|[\s$*_`>|"([{\u00a0\u200b-\u200f\u2060]){0,64}$/;
/** Ends of blocks, tags and markers in brackets: the last line is the one before them. */
const closer = /^[\s\p{P}$`|~+=<>^]*$|^\s*[[<(【].{0,80}[\]>)】]\s*$/u;

/** Where the last line begins that says something. */
function lastLine(text: string): number {
  let end = text.length;
  while (end > 0) {
    const at = text.lastIndexOf('\n', end - 1) + 1;
    const line = text.slice(Math.max(at, end - 2 * lineCharsMax), end);
    if (line.includes('ox') || !closer.test(line)) return at;
    end = at - 1;
  }
  return 0;
}

/** The line before `at`, from `from` on. */
function prefixOf(text: string, at: number, from = 0): string {
  const before = text.slice(Math.max(from, at - lineCharsMax), at);
  return before.slice(before.lastIndexOf('\n') + 1);
}

/** Whose number the box is, by the sentence before it (S3). */
function voiceOf(text: string, box: Box, n: number, headed: boolean): Voice {
  const prefix = prefixOf(text, box.at);
  if (/^\s{0,8}>/.test(prefix) || quoteOpen(prefix) || /(?:^|[^\\\d])%/.test(prefix)) return 'other';
  const clause = undress(lastSentence(prefix));
  if (clause === '') {
    // Without a heading a sentence must not run through the box.
    const rest = restOfLine(text, box.end).replace(/(?:^|\s)%.*|<\/?[a-z_]{1,20}>/gi, '');
    if (!headed && /\p{L}{2}.{0,80}\p{L}{2}/u.test(rest)) return 'other';
    const introduction = lineBefore(text, box.at - prefix.length).line;
    if (headed) return 'alone';
    if (introduces(introduction, false)) return 'other';
    if (n === 1 && concludes(introduction, box)) return 'other';
    return 'alone';
  }
  const ruled = ownSentence(clause, n);
  return ruled && !quotedRest(restOfLine(text, box.end)) ? 'own' : 'other';
}

/** The line leads to the solution of the task, or states it: "Thus the divisor is:", "So x is 7." */
function concludes(line: string, box: Box): boolean {
  const sentence = lastSentence(line.replace(/[\s*_`]{1,16}$/, ''));
  if (say.scoreWord.test(sentence) || say.gives.test(sentence)) return false;
  if (/[\p{L},，]$/u.test(sentence)) return say.solution.test(sentence);
  if (/[:：=]$/.test(sentence)) return say.solution.test(sentence) || /\s/.test(undress(sentence));
  return sentence.replace(/[.$\s)]{1,8}$/, '').endsWith(` ${box.content}`);
}

function ownSentence(clause: string, n: number): boolean {
  if (say.quotes.test(clause)) return false;
  if (say.scoreWord.test(clause)) return true;
  if (say.solution.test(clause)) return n > 1 && /^\W{0,8}(?:the )?final answers?\W{0,8}$/i.test(clause);
  if (say.computes.test(clause)) return false;
  if (say.gives.test(clause)) return true;
  if (say.judged.test(clause)) return false;
  if (/[:：=→|]$/.test(clause)) return clause.length <= labelCharsMax;
  return n > 1 && clause.length <= (say.ownVoice.test(clause) ? labelCharsMax : wordsCharsMax);
}

/** Why the section may not be the judge's own last word (S4). */
function doubtOf(
  { text, n, cut, heading, sectionEnd }: SectionCase,
  { box, voice }: OwnBox,
  scores: readonly number[],
  section: readonly OwnBox[],
): string | undefined {
  const differs = (each: Box): boolean => {
    const read = readBox(each.content, n);
    return read.kind === 'scores' && read.scores.some((score, place) => score !== scores[place]);
  };
  const rest = restOfLine(text, box.end);
  const tail = text.slice(box.end);
  const next = tail.slice(rest.length);
  const goesOn = says(rest) || says(next);
  if (
    section.some((each) => each.box.at > box.at && isClaim(prefixOf(text, each.box.at, box.end)) && differs(each.box))
  )
    return 'a later box gives other scores, perhaps in place of these';
  if (heading !== undefined && box.at >= heading.end && box.at < sectionEnd) {
    const { line, blankBetween } = lineBefore(text, heading.at);
    if (introduces(line, goesOn)) return 'the score section may be quoted: the line before it introduces it';
    if (heading.setOff && (cut || goesOn || say.quotes.test(lastSentence(line))))
      return 'the score section stands in a code block, which may be quoted';
    if (!blankBetween && runsOn(line) && says(next) && !/^\s*\n\s*\n/.test(next))
      return 'the score section stands in the middle of a sentence';
    const inline = text.slice(heading.end, Math.min(box.at, heading.end + lineCharsMax)).split('\n', 1)[0]!;
    if (voice === 'alone' && contradicts(inline, scores)) return 'the score heading gives other numbers than the box';
    if (quoteOpen(text.slice(0, heading.at)) && quoteOpen(tail))
      return 'the score section stands between quotation marks';
  }
  if (quotedRest(rest)) return 'the sentence with the box may be a quotation';
  return doubtOfTail(next, rest, scores);
}

function doubtOfTail(next: string, rest: string, scores: readonly number[]): string | undefined {
  // A sentence that goes on in the next line, in small letters.
  if (
    /^[\s*_$`]{0,16}$/.test(rest) &&
    /^\r?\n[ \t]{0,16}\p{Ll}{2}/u.test(next) &&
    !/^\r?\n[ \t]{0,16}\p{Ll}{1,20}\s*$/u.test(next)
  )
    return 'the text goes on as if the score section were part of a sentence';
  const tail = rest + next;
  let first = true;
  for (const [sentence] of tail.matchAll(/[^.!?。！？\n]{1,400}/g)) {
    const words = sentence.replace(/^[^\p{L}]{1,40}/u, '');
    if (!/\p{L}/u.test(words)) continue;
    if (say.takesBack.test(words)) return 'the judge takes the scores back';
    if (first && say.pointsBack.test(words) && say.quotes.test(words))
      return 'the text speaks of the score section as of a quotation';
    first = false;
  }
  for (const [, said, given] of tail.matchAll(say.statement))
    if (contradicts(said ?? given ?? '', scores, false)) return 'the text goes on with other scores';
  return undefined;
}

/** Numbers of a text that may be scores, and are not these. `all`: only as many as there are scores. */
function contradicts(text: string, scores: readonly number[], all = true): boolean {
  const plain = text
    .replace(/(?:\/|out of|von|sur|de|из)\s{0,2}10\b/giu, ' ')
    .replace(
      /\b(?:responses?|assistants?|answers?|candidates?|criteri\p{L}{1,3}|steps?|parts?|points?|no\.?|#)\s{0,2}\d{1,2}\b/giu,
      ' ',
    )
    .replace(/\b1\s{0,2}(?:-|–|to)\s{0,2}10\b|\d+(?:\.\d+)?\s?%|\d+(?:st|nd|rd|th)\b/gi, ' ');
  const numbers = [...plain.matchAll(/\d{1,4}(?:\.\d{1,4})?/g)].map(([digits]) => Number(digits));
  if (numbers.length === 0 || (all && numbers.length !== scores.length)) return false;
  return all ? numbers.some((each, at) => each !== scores[at]) : numbers.some((each) => !scores.includes(each));
}

/** The words before a later box offer it as the judge's scores: none, a label, a revision. Prose about something else does not. */
function isClaim(prefix: string): boolean {
  const clause = undress(lastSentence(prefix));
  if (clause === '' || say.takesBack.test(clause) || /\b(?:or|rather|instead|now|to|→|->)\W{0,4}$/i.test(clause))
    return true;
  if (say.quotes.test(clause)) return false;
  if (say.scoreWord.test(clause) || say.gives.test(clause)) return true;
  return (
    say.ownVoice.test(clause) && !say.solution.test(clause) && !say.judged.test(clause) && !say.computes.test(clause)
  );
}

/** What stands on the line after a box makes it somebody else's: "\boxed{10, 1} is what response 1 asks for". */
function quotedRest(rest: string): boolean {
  const words = rest.replace(/(?:^|\s)%.*/, '').replace(/^[^\p{L}]{1,16}/u, '');
  if (/\bboxed\s{0,2}\{/.test(words) && /^(?:or|to|then|revised|corrected|rather|instead)\b/i.test(words)) return true;
  return (
    (say.pointsBack.test(words) || /^(?:as|by|from|inside|within|says|claims|for itself)\b/i.test(words)) &&
    (say.quotes.test(words) || say.judged.test(words))
  );
}

/** The line leads to something that is quoted. */
function introduces(line: string, goesOn: boolean): boolean {
  const sentence = lastSentence(line.replace(/[\s*_`]{1,16}$/, ''));
  if (sentence === '' || /^\s*#/.test(line)) return false;
  const quotes = say.quotes.test(sentence) && !/\b(?:i|my)\b/i.test(sentence);
  const own =
    say.scoreWord.test(sentence) ||
    say.gives.test(sentence) ||
    say.ownVoice.test(sentence) ||
    /\b(?:therefore|based on|as follows|here)\b/i.test(sentence);
  if (/[:：]$/.test(sentence))
    return quotes || (!own && (say.judged.test(sentence) || sentence.length > labelCharsMax));
  if (!/[\p{L},，、;—–-]$/u.test(sentence)) return false;
  const word = /\p{L}{1,32}$/u.exec(sentence)?.[0] ?? '';
  if (say.quotes.test(word)) return quotes;
  return !own && (quotes || goesOn) && (word === '' || openEnd.test(word));
}

/** Words that no sentence ends with. */
const openEnd =
  /^(?:with|that|this|these|the|an?|as|by|to|of|and|or|is|are|was|were|like|lines?|text|following|below|from|for|namely|in)$/;

/** The line ends inside a sentence: not a heading, not an item of a list, and no mark at its end. */
function runsOn(line: string): boolean {
  const words = line.replace(/[\s*_`]{1,16}$/, '');
  return (
    /[\p{L}\d,，]$/u.test(words) &&
    !/^\s*(?:[-*•#|+]|\d{1,2}[.)])/.test(words) &&
    /\S\s+\S+\s+\S|[\u3040-\u30ff\u4e00-\u9fff]{8}/.test(words)
  );
}

/** The last line before `at` that says something, its end at least: the opening of a fence or a formula is passed over. */
function lineBefore(text: string, at: number): { readonly line: string; readonly blankBetween: boolean } {
  let end = at;
  for (let passed = 0; ; passed += 1) {
    while (end > 0 && /\s/.test(text.charAt(end - 1))) end -= 1;
    const line = prefixOf(text, end);
    if (passed === openingsMax || !/^\s*(?:(?:```|~~~)\w{0,12}|\${1,2}|\\{1,2}[[(])$/.test(line))
      return { line, blankBetween: /\n\s*\n/.test(text.slice(end, Math.min(at, end + lineCharsMax))) };
    end -= line.length;
  }
}

const openingsMax = 4;

function lastSentence(line: string): string {
  const found = /(?:^|[.!?。！？；]["”)\]*_]{0,3}\s+|[。！？；])([^.!?。！？；]*(?:[.!?](?!\s)[^.!?。！？；]*)*)$/.exec(
    line,
  );
  return (found?.[1] ?? line).trim();
}

function undress(clause: string): string {
  return clause.replace(/<\/?[a-z_]{1,20}>/gi, '').replace(/^[\s*_#`$\\[({|•·>\d.)-]+|[\s*_`$\\[({|]+$/g, '');
}

/** The line from `from` on, up to a bound. */
function restOfLine(text: string, from: number): string {
  return text.slice(from, from + 2 * lineCharsMax).split('\n', 1)[0]!;
}

/** A quotation mark is still open at the end. */
function quoteOpen(text: string): boolean {
  let straight = 0;
  let depth = 0;
  for (const [mark] of text.matchAll(/["“”«»「」『』]/g)) {
    if (mark === '"') straight += 1;
    else depth = '“«「『'.includes(mark) ? depth + 1 : Math.max(0, depth - 1);
  }
  return straight % 2 === 1 || depth > 0;
}

/** More than the ends of blocks and markers follows. */
function says(text: string): boolean {
  return text.split('\n').some((line) => !closer.test(line.slice(0, 2 * lineCharsMax)));
}
