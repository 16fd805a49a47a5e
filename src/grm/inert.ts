// Inert: makes text that somebody else wrote harmless inside a prompt (promise P8), and leaves the rest of it as it came, byte for byte.
//
//   I1. Text out is well-formed: lone surrogates and NUL become U+FFFD. They have no UTF-8, or end a string in some engines.
//   I2. The request's nonce never appears in it, in any case of letters: every occurrence becomes "[…]". So no text can write a marker.
//   I3. Control tokens of chat formats (<|im_end|>, [INST], <end_of_turn>, ...) get a middle dot after their first character. Engines tokenise them inside
//       plain text as the real thing, and a response could end its own turn with one.
//   I4. Where a template's markers carry no nonce, text that looks like one of them gets the same dot.
//
// Boxes and score headings in a response are left alone, deliberately: the parser reads only what the model generated, and there only its last score
// section (parse.ts, R2), while breaking \boxed{42} in an answer about mathematics would change what is judged.

const dot = '\u00b7';
const loneSurrogate = /[\ud800-\udfff]/gu;
const controlToken =
  /[<[](?=\|[^\s<>|]{1,64}\|>|\uff5c[^<>\uff5c]{1,64}\uff5c>|\/?s>|(?:bos|eos|pad|unk|start_of_turn|end_of_turn)>|<\/?SYS>>|\/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])/g;
const nonceForm = /^[0-9A-Za-z]{4,64}$/;

/** Finds a nonce's occurrences. Throws on a nonce that is not 4..64 letters and digits: shorter ones are found in ordinary words. */
export function noncePattern(nonce: string): RegExp {
  if (!nonceForm.test(nonce)) throw new RangeError('a nonce is 4..64 ASCII letters and digits');
  return new RegExp(nonce, 'gi');
}

/**
 * Finds where text looks like one of a template's markers: the marker's lines, with any number, any role, any white space between words, in any case of
 * letters. undefined when there is nothing to find.
 */
export function lookalikePattern(markers: readonly string[]): RegExp | undefined {
  const sources = markers.flatMap((marker) => marker.split('\n')).map(markerSource);
  const found = sources.filter((source) => source !== '');
  // A look-ahead, so that occurrences that overlap are all found; the dot goes after the one character taken.
  return found.length === 0 ? undefined : new RegExp(`(?=${found.join('|')}).`, 'gisu');
}

function markerSource(line: string): string {
  const marker = line.trim();
  if (marker.replace(/\{\{[a-z]+\}\}/g, '').trim() === '') return '';
  return marker
    .split(/(\{\{[a-z]+\}\}|\s+)/)
    .map((piece) => {
      if (piece === '{{number}}') return '\\d{1,4}';
      if (piece === '{{role}}') return '(?:system|user|assistant|tool)';
      if (piece.startsWith('{{')) return '\\S{0,64}';
      return piece.trim() === '' && piece !== '' ? '\\s+' : piece.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
    })
    .join('');
}

/** True when a marker could not be told from one that was made inert. */
export function holdsDot(marker: string): boolean {
  return marker.includes(dot);
}

/** The text, inert inside this prompt. */
export function inert(text: string, nonce: RegExp, lookalikes: readonly (RegExp | undefined)[]): string {
  // Nearly every text has nothing to replace, and looking for a word is several times faster than a search by pattern.
  let safe = text.includes('\0') ? text.replaceAll('\0', '\ufffd') : text;
  if (!safe.isWellFormed()) safe = safe.replace(loneSurrogate, '\ufffd');
  // The nonce before the rest: what is put in its place closes no gap, and dots put in afterwards close none either.
  if (safe.toLowerCase().includes(nonce.source.toLowerCase())) safe = safe.replace(nonce, '[…]');
  if (safe.includes('<') || safe.includes('[')) safe = safe.replace(controlToken, `$&${dot}`);
  for (const lookalike of lookalikes) if (lookalike !== undefined) safe = safe.replace(lookalike, `$&${dot}`);
  return safe;
}
