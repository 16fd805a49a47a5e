// Markers: what looks like a line of a template, so that a text from outside could pass itself off as a part of the prompt. Patterns are for folded
// text (fold.ts); where a match has a group, the marker begins after it.
//
//   M1. A marker in brackets ("[reference]", "<<<end of response 1 NONCE>>>") is found in every text, whatever block the text stands in: by as many
//       brackets as the marker has and its first words, with any number or nonce or none, closed or not.
//   M2. A marker without brackets ("Reference: ") is found where it begins a line. So are the words of a marker in single square brackets
//       with a colon ("reference: 7" for "[reference] 7"): a small judge takes the one for the other.
//   M3. Fixed lines of the instructions, and of blocks, are found by their first words: lines of four or more anywhere, of two or three ("The
//       conversation:") where they fill a line and end in a colon.
//   M4. Single words of instructions ("Scores:", "Analysis:") are left alone: an answer may need them. So is the line with the box: only what the
//       model generates is parsed (parse.ts), and breaking \boxed{42} in an answer about mathematics would change what is judged.

import type { Finder } from './finder.js';
import { fold } from './fold.js';

export interface MarkerSources {
  /** Both sides of {{text}} in sections that put markers around a text. */
  readonly blocks: readonly string[];
  /** Sections of instructions. */
  readonly instructions: readonly string[];
}

export interface Markers {
  /** For what a judge wrote. M2's words with a colon are not in it: "Response 1: ..." is how judges write. */
  readonly inJudgement: readonly Finder[];
  /** For all texts that come with a request. */
  readonly inContent: readonly Finder[];
}

export function findMarkers({ blocks, instructions }: MarkerSources): Markers {
  const own = new Map<string, string>();
  const withColon = new Map<string, string>();
  for (const line of linesOf(blocks)) {
    const { bracket, run, words, weight, end } = readLine(line);
    if (words.length === 0) {
      // Nothing but signs, like ---: literally.
      if (line !== '' && !line.includes('{{')) own.set(escaped(line), line);
    } else if (bracket !== '') {
      const end = isRole(words) ? wordEnd + noFurtherWord : numberIfAny + wordEnd;
      own.set(`${escaped(bracket)}{${run}}${inBracket}${phrase(words)}${end}`, bracket.repeat(run));
      if (bracket === '[' && run === 1 && words.length === 1) addLine(withColon, words, '[*_]*\\s?:');
    } else if (weight >= weightAnywhere) own.set(`\\b${phrase(words)}`, longest(words));
    else addLine(own, words, end === ':' ? '[*_]*\\s*:' : lineEnd);
  }
  for (const line of linesOf(instructions)) {
    if (line.includes('{{box}}')) continue;
    const { words, weight, end } = readLine(line);
    if (weight >= weightAnywhere) own.set(`\\b${phrase(words)}`, longest(words));
    else if (weight >= 2 && end === ':') addLine(own, words, `[*_]*\\s*:${lineEnd}`);
  }
  const inJudgement = findersOf(own);
  return { inJudgement, inContent: [...inJudgement, ...findersOf(withColon)] };
}

const weightAnywhere = 4;
const wordsTaken = 6;
const letters = String.raw`a-z0-9\u00aa\u00b5\u00ba\u00c0-\u1fff\u2c00-\u2fff\u3040-\ud7ff\uf900-\ufdff`;
/** No letter and no digit, of any script; nor the dot that makes inert, so that what is inert is no marker any more. */
const sign = String.raw`[^${letters}\u00b7]`;
/** What may stand between a bracket and the first word; other signs make it code, like ["user"]. */
const inBracket = String.raw`[^${letters}!-)+-^\x60{-}\u00b7]*\/?`;
const numberIfAny = `(?:${sign}*\\d{1,8})?`;
const wordEnd = `(?![${letters}])`;
const noFurtherWord = String.raw`(?!\s+[${letters}])`;
/** Dress of Markdown or none, before and after. */
const lineStart = String.raw`^([ \t>*#_~=|"'+\x60-]{0,16})`;
const lineEnd = String.raw`[ \t*#_~=|"'+\x60-]*$`;

const roles = ['system', 'user', 'assistant', 'tool'] as const;
const roleSource = `(?:${roles.join('|')})`;
const slotSources: Readonly<Record<string, string>> = {
  role: roleSource,
  number: '\\d{1,8}',
  best: '\\d{1,8}',
  n: '[a-z0-9]{1,12}',
};

function addLine(to: Map<string, string>, words: readonly string[], after: string): void {
  // One for each role, so that each has a word to look for.
  const each = words[0] === roleSource ? roles.map((role) => [role, ...words.slice(1)]) : [words];
  const number = isRole(words) ? '' : numberIfAny;
  for (const fixed of each) to.set(`${lineStart}${phrase(fixed)}${number}${after}`, longest(fixed));
}

/** A role alone: "Assistant 1:" and "[User guide]" are ordinary text. */
function isRole(words: readonly string[]): boolean {
  return words.length === 1 && words[0] === roleSource;
}

function longest(words: readonly string[]): string {
  const fixed = words.filter((word) => /^[\p{L}\p{N}]+$/u.test(word));
  return fixed.reduce((longer, word) => (word.length > longer.length ? word : longer), '');
}

/** Signs of one finder, when the alternatives begin with the same. */
function findersOf(sources: ReadonlyMap<string, string>): Finder[] {
  const bySign = new Map<string, string[]>();
  for (const [source, holds] of sources) bySign.set(holds, [...(bySign.get(holds) ?? []), source]);
  return [...bySign].map(([holds, those]) => ({ holds, pattern: new RegExp(`(?:${those.join('|')})`, 'gm') }));
}

interface ReadLine {
  /** What the line opens with and how many of it, when it is a bracket. */
  readonly bracket: string;
  readonly run: number;
  /** Sources of its first words: of a line in brackets, those up to its number or nonce. */
  readonly words: readonly string[];
  /** Words in all; a script without spaces writes one in two characters. */
  readonly weight: number;
  readonly end: string;
}

function readLine(line: string): ReadLine {
  const open = line.startsWith('{{') ? '' : (/^([[<{(])\1*/.exec(line)?.[0] ?? '');
  const words: string[] = [];
  let weight = 0;
  for (const [found] of line.matchAll(/\{\{[a-z]+\}\}|[\p{L}\p{N}]+|=/gu)) {
    const slot = /^\{\{([a-z]+)\}\}$/.exec(found)?.[1];
    const source = slot === undefined ? found : slotSources[slot];
    const ends = source === undefined || found === '=' || (open !== '' && slot !== undefined && words.length > 0);
    if (ends) break;
    weight += slot === undefined && /[\u3040-\u9fff\uac00-\ud7af]/.test(found) ? found.length / 2 : 1;
    if (words.length < wordsTaken) words.push(source);
  }
  return { bracket: open[0] ?? '', run: open.length, words, weight, end: line.at(-1) ?? '' };
}

function phrase(words: readonly string[]): string {
  return words.join(`${sign}+`);
}

function linesOf(texts: readonly string[]): string[] {
  return texts.flatMap((text) => text.split('\n')).map((line) => fold(line).lower.trim());
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}
