// Inert: makes text that somebody else wrote harmless inside a prompt (promise P8), and leaves the rest of it as it came, byte for byte.
//
//   I1. Text out is well-formed: lone surrogates and NUL become U+FFFD. They have no UTF-8, or end a string in some engines.
//   I2. The request's nonce never appears in it, in any case of letters: every occurrence becomes "[…]". So no text can write a marker. A request's own
//       texts never hold it (coordinator/nonce.ts); what a judge wrote may, since it has seen it.
//   I3. Control tokens of chat formats (<|im_end|>, [INST], <end_of_turn>, ...) and of the engine's own vocabulary get a middle dot after their first
//       character. Engines tokenise them inside plain text as the real thing, and a response could end its own turn with one.
//   I4. What looks like a line of the template (markers.ts) gets the same dot.
//   I5. I3 and I4 look at the text's fold (fold.ts), so that full-width brackets, invisible characters and letters of other scripts hide nothing. Dots only
//       ever part characters, so none of them makes a token or a marker, and a second time changes nothing.
//
// Boxes and score headings in a response are left alone, deliberately: the parser reads only what the model generated, and there only its last score
// section (parse.ts, R2), while breaking \boxed{42} in an answer about mathematics would change what is judged.

import { chatTokens } from './chat-tokens.js';
import type { Finder } from './finder.js';
import { fold } from './fold.js';

const dot = '\u00b7';
const loneSurrogate = /[\ud800-\udfff]/gu;
const nonceForm = /^[0-9A-Za-z]{4,64}$/;

/** Finds a nonce's occurrences. Throws on a nonce that is not 4..64 letters and digits: shorter ones are found in ordinary words. */
export function noncePattern(nonce: string): RegExp {
  if (!nonceForm.test(nonce)) throw new RangeError('a nonce is 4..64 ASCII letters and digits');
  return new RegExp(nonce, 'gi');
}

/** True when a marker could not be told from one that was made inert. */
export function holdsDot(marker: string): boolean {
  return marker.includes(dot);
}

/**
 * The text, inert inside this prompt.
 * @param others what else is to be broken: the template's markers, the engine's own tokens
 */
export function inert(text: string, nonce: RegExp, others: readonly Finder[]): string {
  // Nearly every text has nothing to replace, and looking for a word is several times faster than a search by pattern.
  let safe = text.includes('\0') ? text.replaceAll('\0', '\ufffd') : text;
  if (!safe.isWellFormed()) safe = safe.replace(loneSurrogate, '\ufffd');
  // The nonce before the rest: what is put in its place closes no gap, and dots put in afterwards close none either.
  if (safe.toLowerCase().includes(nonce.source.toLowerCase())) safe = safe.replace(nonce, '[…]');

  const folded = fold(safe);
  const places = new Set<number>();
  const find = ({ holds, pattern, exactCase }: Finder): void => {
    const searched = exactCase === true ? folded.text : folded.lower;
    if (!searched.includes(holds)) return;
    pattern.lastIndex = 0;
    for (let found = pattern.exec(searched); found !== null; found = pattern.exec(searched)) {
      const place = found.index + (found[1]?.length ?? 0);
      places.add(folded.originOf(place));
      // From the next character on, so that occurrences that overlap are all found.
      pattern.lastIndex = place + 1;
    }
  };
  chatTokens.forEach(find);
  others.forEach(find);
  return places.size === 0 ? safe : dotted(safe, places);
}

/** A dot after each of the characters that begin at these places. */
function dotted(text: string, places: ReadonlySet<number>): string {
  const parts: string[] = [];
  let from = 0;
  for (const place of [...places].sort((a, b) => a - b)) {
    const to = place + (text.codePointAt(place)! > 0xffff ? 2 : 1);
    parts.push(text.slice(from, to), dot);
    from = to;
  }
  parts.push(text.slice(from));
  return parts.join('');
}
