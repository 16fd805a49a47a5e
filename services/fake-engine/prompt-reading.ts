// What the fake judge reads out of a prompt: the responses between their markers, and each one's latent quality.
import { hash53 } from './random.js';

/** `<<<response 1 NONCE>>>` and `[The Begin of Response 1]`; groups: number and nonce, or number. */
const beginMarker = /<<<response (\d+)(?: ([^\s<>]+))?>>>|\[The Begin of Response (\d+)\]/gi;

const endMarker = /<<<end of response \d+ ([^\s<>]+)>>>/gi;

const plantedQuality = /\bquality\s*=\s*(10|[1-9])(?:\b|$)/i;

export interface ShownResponse {
  readonly text: string;
  /** 1..10: planted as `quality=7`, else a stable number drawn from the text. */
  readonly quality: number;
}

export interface PromptReading {
  readonly responses: readonly ShownResponse[];
  /** The prompt without the responses, so that no response is mistaken for something around it. */
  readonly around: string;
}

/**
 * Finds responses 1, 2, 3, ... in order. The nonce of the last end marker is the prompt's own: imitations in the query or in a response come
 * before it, and whatever a response contains is skipped with it. A prompt without markers is read as one response, the prompt itself.
 */
export function readPrompt(prompt: string): PromptReading {
  const responses: ShownResponse[] = [];
  const around: string[] = [];
  const nonce = [...prompt.matchAll(endMarker)].at(-1)?.[1];
  let end = 0;
  for (const match of prompt.matchAll(beginMarker)) {
    if (match.index < end) continue;
    const number = Number(match[1] ?? match[3]);
    if (number !== responses.length + 1 || match[2] !== nonce) continue;
    const bodyAt = match.index + match[0].length;
    const closing = match[1] === undefined ? `[The End of Response ${number}]` : `<<<end of ${match[0].slice(3)}`;
    const closingAt = indexIgnoringCase(prompt, closing, bodyAt);
    if (closingAt < 0) continue;
    around.push(prompt.slice(end, match.index));
    responses.push(shown(prompt.slice(bodyAt, closingAt)));
    end = closingAt + closing.length;
  }
  around.push(prompt.slice(end));
  return responses.length === 0
    ? { responses: [shown(prompt)], around: prompt }
    : { responses, around: around.join('\n') };
}

function shown(body: string): ShownResponse {
  const text = body.trim();
  const planted = plantedQuality.exec(text);
  return { text, quality: planted ? Number(planted[1]) : 1 + (hash53(text) % 10) };
}

function indexIgnoringCase(text: string, wanted: string, from: number): number {
  const exact = text.indexOf(wanted, from);
  return exact >= 0 ? exact : text.toLowerCase().indexOf(wanted.toLowerCase(), from);
}
