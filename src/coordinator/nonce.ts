// Nonce: what marks the texts of one request in its prompts.
//
//   E1. It follows from the request alone, so that whoever takes the request up again writes the same markers (promise P3).
//   E2. It occurs in none of the request's texts, in no case of letters: where it would, the next one of its row is taken. So whoever can search for
//       an ending of his own response that makes the nonce equal to something in a rival's text gains nothing: nothing is ever blanked (promise P8).
//   E3. 64 bits: a text that is to hold its own nonce cannot be found by trying, and contents of one id are told apart by it (work/lane.ts).

import { hash } from 'node:crypto';
import type { Content } from '../grm/query.js';

/** Hexadecimal digits of a nonce: it stands twice around each text, and digits are tokens. */
const digits = 16;
/** E2 needs a second one once in 10^12 requests; a row of so many that all occur is not made by chance, nor by anybody within the bounds of a request. */
const triesMax = 16;

/** @param source what the request is told by: two requests of one source have one row of nonces */
export function nonceOf(source: string, content: Content): string {
  const texts = [...textsOf(content)].map((text) => text.toLowerCase());
  const occurs = (nonce: string): boolean => texts.some((text) => text.includes(nonce));
  let nonce = numbered(source, 0);
  for (let turn = 1; turn < triesMax && occurs(nonce); turn++) nonce = numbered(source, turn);
  return nonce;
}

/** Every text of a request that a prompt shows. */
export function* textsOf(content: Content): Generator<string> {
  for (const message of content.messages) yield message.content;
  yield* content.responses;
  if (content.reference !== undefined) yield content.reference;
  for (const principle of content.principles) yield principle.text;
}

function numbered(source: string, turn: number): string {
  return hash('sha256', `nonce\0${turn}\0${source}`, 'hex').slice(0, digits);
}
