// Reasoning: what a model thinks before it answers, and where that ends. Reasoning is not judgement, so none of it may be read for scores.
//
//   G1. Reasoning stands between an opening and a closing marker: at the beginning of a text, or from an opening marker that begins a line. There may
//       be several blocks. A block without its end takes the whole rest: nothing was said after it.
//   G2. A closing marker without an opening one ends what the prompt opened: what stands before it is reasoning. The last such marker counts.
//   G3. A marker that is quoted is text: one in the middle of a sentence ("it leaks a </think> tag"), in quotation marks, or in backquotes.
//       So a response that makes a judge quote a marker costs no judgement. Where it is not certain that a closing marker is quoted, it is none.
//   G4. Engines that leave special tokens out of a text show channels without their markers: "analysis...assistantfinal..." (harmony), or
//       "thought" on a line of its own at the beginning (Gemma), whose end cannot be seen. Read so where the list has that kind of channel.
//   G5. Time is linear in the text.

export interface ReasoningMarkers {
  readonly open: string;
  readonly close: string;
}

const harmony: ReasoningMarkers = { open: '<|channel|>analysis', close: '<|channel|>final<|message|>' };
const gemma: ReasoningMarkers = { open: '<|channel>', close: '<channel|>' };

/** Markers in any case of letters. The first pair stands for reasoning that a prompt opened and whose kind nobody can tell. */
export const reasoningDefaults: readonly ReasoningMarkers[] = [
  { open: '<think>', close: '</think>' },
  { open: '<thinking>', close: '</thinking>' },
  { open: '[THINK]', close: '[/THINK]' },
  { open: '<thought>', close: '</thought>' },
  { open: '<thoughts>', close: '</thoughts>' },
  { open: '<reasoning>', close: '</reasoning>' },
  { open: '<reason>', close: '</reason>' },
  { open: '<scratchpad>', close: '</scratchpad>' },
  { open: '<seed:think>', close: '</seed:think>' },
  { open: '◁think▷', close: '◁/think▷' },
  { open: '<|START_THINKING|>', close: '<|END_THINKING|>' },
  { open: '<|begin_of_thought|>', close: '<|end_of_thought|>' },
  harmony,
  { open: '<|channel|>commentary', close: '<|channel|>final<|message|>' },
  gemma,
];

interface Markers {
  readonly find: RegExp;
  /** Marker in lower case -> the closing marker that ends it, in lower case; for closing markers themselves undefined. */
  readonly closeOf: ReadonlyMap<string, string | undefined>;
  readonly harmony: boolean;
  readonly gemma: boolean;
}

const compiled = new WeakMap<readonly ReasoningMarkers[], Markers>();

function compile(list: readonly ReasoningMarkers[]): Markers {
  const known = compiled.get(list);
  if (known !== undefined) return known;
  const closeOf = new Map<string, string | undefined>();
  for (const { open, close } of list) {
    closeOf.set(close.toLowerCase(), undefined);
    closeOf.set(open.toLowerCase(), close.toLowerCase());
  }
  const words = [...closeOf.keys()].sort((a, b) => b.length - a.length);
  const has = ({ open }: ReasoningMarkers) => closeOf.has(open.toLowerCase());
  const markers = {
    find: new RegExp(
      words.length === 0 ? '(?!)' : words.map((word) => word.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|'),
      'gi',
    ),
    closeOf,
    harmony: has(harmony),
    gemma: has(gemma),
  };
  compiled.set(list, markers);
  return markers;
}

/** "analysis" run together with what follows it, which no heading is. */
const strippedHarmony = /^\s*analysis(?=[^\s:：*_#.,)])/;
const harmonyFinal = /assistant\s{0,2}final(?=[^a-z]|$)/g;
const strippedGemma = /^\s*thought\r?\n/;
/** How harmony begins a message. */
const messageHead = /^\s*(?:<\|start\|>\s*assistant\s*)?/i;

/** What was said, less the reasoning; undefined when the reasoning never ends. */
export function withoutReasoning(
  text: string,
  list: readonly ReasoningMarkers[] = reasoningDefaults,
): string | undefined {
  const { find, closeOf, harmony, gemma } = compile(list);
  // G4.
  if (gemma && strippedGemma.test(text)) return undefined;
  if (harmony && /^\s*analysis/.test(text)) {
    harmonyFinal.lastIndex = 0;
    let end = -1;
    while (harmonyFinal.exec(text) !== null) end = harmonyFinal.lastIndex;
    if (end >= 0) return text.slice(end);
    if (strippedHarmony.test(text)) return undefined;
  }
  const inkEnd = text.trimEnd().length;
  let said = '';
  let from = messageHead.exec(text)![0].length;
  /** The closing marker that is waited for. */
  let wanted: string | undefined;
  let quotedOpenAt = -1;
  find.lastIndex = 0;
  for (let found = find.exec(text); found !== null; found = find.exec(text)) {
    const marker = found[0].toLowerCase();
    const at = found.index;
    const close = closeOf.get(marker);
    if (wanted !== undefined) {
      // A closing marker that the reasoning quotes ends nothing: what follows is a draft.
      if (marker !== wanted || isQuoted(text, at, find.lastIndex, inkEnd)) continue;
      wanted = undefined;
      from = find.lastIndex;
    } else if (close !== undefined) {
      if (!beginsLine(text, at, from)) {
        quotedOpenAt = at;
        continue;
      }
      said += text.slice(from, at);
      wanted = close;
    } else if (
      !(quotedOpenAt >= 0 && sameLine(text, quotedOpenAt, at)) &&
      !isQuoted(text, at, find.lastIndex, inkEnd)
    ) {
      // G2.
      said = '';
      from = find.lastIndex;
    } else {
      quotedOpenAt = -1;
    }
  }
  return wanted === undefined ? said + text.slice(from) : undefined;
}

/**
 * The text of an engine whose prompt opens the reasoning, with the opening marker before it: whoever reads it later knows without being told.
 * A text that begins with a marker of its own stays as it is.
 */
export function reopened(text: string, list: readonly ReasoningMarkers[] = reasoningDefaults): string {
  const { find, closeOf } = compile(list);
  find.lastIndex = 0;
  const first = find.exec(text);
  if (first !== null && closeOf.get(first[0].toLowerCase()) !== undefined && text.slice(0, first.index).trim() === '')
    return text;
  for (let found = first; found !== null; found = find.exec(text)) {
    const marker = found[0].toLowerCase();
    const pair = list.find(({ close }) => close.toLowerCase() === marker);
    if (pair !== undefined) return `${pair.open}\n${text}`;
  }
  const [pair] = list;
  return pair === undefined ? text : `${pair.open}\n${text}`;
}

const lineCharsMax = 256;

/** Nothing but white space stands before `at` on its line, or between `from` and it. */
function beginsLine(text: string, at: number, from: number): boolean {
  const start = Math.max(from, at - lineCharsMax);
  const before = text.slice(start, at);
  const line = before.slice(before.lastIndexOf('\n') + 1).replace(/<\|(?:start|end)\|>|assistant\s*$/g, '');
  return line.trim() === '' && (start === from || before.includes('\n'));
}

function sameLine(text: string, from: number, to: number): boolean {
  return to - from <= lineCharsMax && !text.slice(from, to).includes('\n');
}

/** G3, for a closing marker: quotation marks around it, or a sentence that it stands in. `inkEnd`: where the text's last character that is no blank ends. */
function isQuoted(text: string, at: number, end: number, inkEnd: number): boolean {
  const before = text.slice(Math.max(0, at - lineCharsMax), at);
  const line = before.slice(before.lastIndexOf('\n') + 1);
  const next = text.slice(end, end + 16);
  if (/["'`“‘«「『(]$/.test(line) && /^["'`”’»」』)]/.test(next)) return true;
  // "it leaks a </think> tag", "with </think>.": a word and a blank before it, and after it the sentence goes on or ends.
  if (!/[\p{L}\p{N},:;—-][ \t]{1,8}$/u.test(line)) return false;
  return end >= inkEnd || /^(?:[.,;:!?)…。，、]|[ \t]{1,8}\p{Ll})/u.test(next);
}
