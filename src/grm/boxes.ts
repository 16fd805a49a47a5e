// Boxes: where a text has boxes.
//
//   B1. A box is "boxed" with its braces: \boxed{8, 3}, with doubled backslashes, or with a backslash that escaping ate. Part of a longer word
//       ("unboxed") is none. \fbox{8, 3} and \framebox{8, 3} are boxes too.
//   B2. A box has to close before the next one begins; else it is none. That keeps the walk linear.

export interface Box {
  /** Where it begins, backslashes included, and where the text goes on after it. */
  readonly at: number;
  readonly end: number;
  readonly content: string;
}

/** "\b" in "\boxed" becomes a backspace when a program reads it as an escape sequence. */
const opening = /(?:\\(?:f|frame)box|[b\b]oxed)[ \t\u00a0\u2000-\u200f\u202f\u2060\u3000\ufeff]{0,8}\{/g;
const inWord = /[\p{L}\p{M}\p{N}]$|[\p{L}\p{N}][-_]$/u;
const openBrace = 123;
const closeBrace = 125;
const backslash = 92;

/** All boxes of the text, in their order. */
export function findBoxes(text: string): Box[] {
  const boxes: Box[] = [];
  let open: { readonly at: number; readonly brace: number } | undefined;
  const closeBefore = (limit: number) => {
    if (open === undefined) return;
    const close = closeOf(text, open.brace, limit);
    if (close >= 0) boxes.push({ at: open.at, end: close + 1, content: text.slice(open.brace + 1, close) });
  };
  opening.lastIndex = 0;
  for (let found = opening.exec(text); found !== null; found = opening.exec(text)) {
    let at = found.index;
    while (at > 0 && text.charCodeAt(at - 1) === backslash) at -= 1;
    if (at === found.index && found[0].startsWith('b') && inWord.test(text.slice(Math.max(0, at - 4), at))) continue;
    closeBefore(at);
    open = { at, brace: opening.lastIndex - 1 };
  }
  closeBefore(text.length);
  return boxes;
}

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
