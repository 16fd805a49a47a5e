// Box: what stands inside \boxed{...}, or in a line of scores, as numbers.
//
// Strict where a guess would invent a score, lenient about dress: "8/10" and "\frac{8}{10}" mean 8, "\text{8}", "**8**", "$8$",
// doubled backslashes, one pair of brackets around the list, spaces and invisible marks of all kinds and full-width digits are undressed. Words, labels,
// other denominators, empty places, NaN, infinities and exponents are no scores; nor are digits of other scripts, superscripts and percentages.

import type { SampleInvalidReason } from './sample.js';

export const scoreMin = 1;
export const scoreMax = 10;

/** Sixteen dressed scores fit many times over; a longer "box" is prose that was never closed. */
const boxCharsMax = 1024;
/** \textbf{\text{8}} is two deep. */
const lookDepthMax = 4;

export type Scores =
  | { readonly kind: 'scores'; readonly scores: readonly number[] }
  | { readonly kind: 'invalid'; readonly reason: SampleInvalidReason; readonly detail: string };

const plainScore = /^[+-]?\d+(?:\.\d*)?$/;
/** What follows the only slash of a place. One search for it: a pattern with white space before the slash would try every blank anew. */
const ofTen = /^\s*10(?:\.0*)?$/;
const fraction = /\\{0,4}[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}/g;
/** Macros that only change the look of what they hold. A macro that computes (\sqrt) must not be here. */
const look =
  /\\{1,4}(?:text(?:bf|it|rm|sf|tt|sl|sc|up|md|normal)?|math(?:bf|it|rm|sf|tt|normal)?|bf|bm|boldsymbol|emph|underline|[mhf]box|framebox|ensuremath)\s*\{([^{}]*)\}/g;
/** LaTeX's spaces, and commands that print nothing: the size of a bracket, of letters, of a formula. */
const space =
  /\\{1,4}(?:[,;:!> ]|(?:q?quad|enspace|enskip|(?:neg)?(?:thin|med|thick)space|nobreakspace|space|left|right|[bB]igg?[lrm]?|displaystyle|textstyle|bf|bfseries|boldmath|rm|it|tt|normalsize|large|Large|LARGE|huge|Huge)(?![a-zA-Z])|hspace\s*\*?\s*\{[^{}]*\})|~/g;
/** A comma that LaTeX sets without a space after it. */
const closeComma = /\{([,;])\}/g;
const group = /\{([^{}]*)\}/g;
/** Marks without a look of their own: zero width, direction of writing. */
const invisible = /[\ufe0e-\ufe0f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]/g;
const fullWidth = /[\uff01-\uff5e\u2212]/g;
/** More than ASCII without what is read as it is. */
const foreign = /[^\t\n\r -~，；、]/;
const separator = /[,;，；、]/;

/** Short enough for a log line. */
export function excerpt(text: string): string {
  const flat = text.replace(/\s+/g, ' ').trim();
  return flat.length <= 60 ? flat : `${flat.slice(0, 59)}…`;
}

function undress(item: string): string {
  let from = 0;
  let to = item.length;
  while (from < to && isDress(item.charCodeAt(from))) from += 1;
  while (to > from && isDress(item.charCodeAt(to - 1))) to -= 1;
  return item.slice(from, to);
}

/** White space, * _ $ " ' ` and stray backslashes. */
function isDress(code: number): boolean {
  return (
    code <= 32 ||
    (code >= 0x2000 && code <= 0x200a) ||
    code === 0x1680 ||
    code === 0x2028 ||
    code === 0x2029 ||
    code === 0x202f ||
    code === 0x205f ||
    code === 0x3000 ||
    code === 0x201c ||
    code === 0x201d ||
    code === 42 ||
    code === 95 ||
    code === 36 ||
    code === 34 ||
    code === 39 ||
    code === 96 ||
    code === 92 ||
    code === 0xa0
  );
}

/** The number that one place of a list holds; undefined when it is none. Range is the caller's business. */
export function readScore(item: string): number | undefined {
  const bare = undress(item);
  const slash = bare.indexOf('/');
  const digits = slash >= 0 && ofTen.test(bare.slice(slash + 1)) ? undress(bare.slice(0, slash).trimEnd()) : bare;
  if (!plainScore.test(digits)) return undefined;
  const score = Number(digits);
  return Number.isFinite(score) ? score : undefined;
}

/** Checks a list of places: each a number, exactly n of them, all within 1..10; in this order of reasons. */
export function readScores(items: readonly string[], n: number): Scores {
  const scores: number[] = [];
  for (const item of items) {
    const score = readScore(item);
    if (score === undefined)
      return { kind: 'invalid', reason: 'not_a_number', detail: `"${excerpt(item)}" is no number` };
    scores.push(score);
  }
  if (scores.length !== n) {
    return { kind: 'invalid', reason: 'wrong_count', detail: `${scores.length} scores for ${n} responses` };
  }
  const outside = scores.find((score) => score < scoreMin || score > scoreMax);
  if (outside !== undefined) {
    return { kind: 'invalid', reason: 'out_of_range', detail: `${outside} is not within ${scoreMin}..${scoreMax}` };
  }
  return { kind: 'scores', scores };
}

/** Takes one pair of brackets off, escaped (\{8, 3\}) or not. */
function unbracket(list: string): string {
  const bare = undress(list);
  const pair = bare.charAt(0) + bare.charAt(bare.length - 1);
  return pair === '[]' || pair === '()' || pair === '{}' ? bare.slice(1, -1) : bare;
}

/** Full-width characters as ASCII, and without marks that print nothing. */
function plainCharacters(content: string): string {
  return content
    .replace(invisible, '')
    .replace(fullWidth, (wide) => (wide === '\u2212' ? '-' : String.fromCharCode(wide.charCodeAt(0) - 0xfee0)));
}

function withoutMacros(content: string): string {
  let plain = content.replace(space, ' ').replace(closeComma, '$1');
  for (let depth = 0; depth < lookDepthMax; depth += 1) {
    const before = plain;
    plain = plain.replace(look, '$1');
    if (plain === before) break;
  }
  // What braces are left only group. The blanks keep {1}{0} from becoming a number.
  return plain.replace(fraction, '$1/$2').replace(group, ' $1 ');
}

/** Reads the text between a box's braces. */
export function readBox(content: string, n: number): Scores {
  if (content.length > boxCharsMax) {
    return { kind: 'invalid', reason: 'not_a_number', detail: `a box of ${content.length} characters` };
  }
  const plain = foreign.test(content) ? plainCharacters(content) : content;
  const list = unbracket(/[\\~{]/.test(plain) ? withoutMacros(plain) : plain);
  if (list.trim() === '') return { kind: 'invalid', reason: 'wrong_count', detail: `an empty box for ${n} responses` };
  return readScores(list.split(separator), n);
}
