// Ledger story: what the ledger did, as somebody outside NATS saw it: announcements while it happened, and what is there at the end.
// An observer may miss announcements (its server was away), and a worker may repeat one; what is kept at the end is all there.
//
//   LS1. Two different contents of one sample (meta reward, record, verdict) are a change, whether both were announced or one was and the other is kept.
//   LS2. What was announced and is not kept was removed.
//   LS3. A verdict is announced without its bytes: that says when it was stored, and nothing of what it is.

import { resultsIn } from '../support/lanes.js';
import type { Entry } from '../sim/history.js';

/** One message of the ledger. `subject` is `grm.<req|res|mres|fin>.<request>[.<lane>-<append>]`. */
export interface Stored {
  readonly subject: string;
  readonly bytes: Uint8Array;
  /** Kept: when the server stored it. Heard: when the announcement came. Milliseconds since the Unix epoch. */
  readonly atMs: number;
}

export interface Seen {
  readonly heard: readonly Stored[];
  readonly kept: readonly Stored[];
}

type Ledger = Extract<Entry, { kind: 'ledger' }>;
const whats = { req: 'record', res: 'sample', mres: 'meta', fin: 'verdict' } as const;

/** @param nameOf what the history calls a request, by its id; undefined for one that is not part of it */
export function ledgerStory(
  { heard, kept }: Seen,
  nameOf: (requestId: string) => string | undefined,
): readonly Ledger[] {
  const story: Ledger[] = [];
  const tell = ({ request, what, unit, bytes, atMs }: Effect, how: Ledger['how'], by: string): void => {
    const value = Buffer.from(bytes).toString('latin1');
    story.push({ kind: 'ledger', how, what, request, value, by, atMs, ...(unit !== undefined && { unit }) });
  };

  const first = new Map<string, Effect>();
  for (const each of kept) {
    for (const effect of effectsOf(each, nameOf)) {
      // A lane holds a sample once, and a write-once stream one message on a subject.
      const key = keyOf(effect);
      tell(effect, first.has(key) ? 'changed' : 'stored', 'the server');
      first.set(key, effect);
    }
  }
  const keptKeys = new Set(first.keys());
  for (const each of heard) {
    for (const effect of effectsOf(each, nameOf)) {
      const key = keyOf(effect);
      const known = first.get(key);
      if (!known) {
        first.set(key, effect);
        tell(effect, 'stored', 'an announcement');
      } else if (saysWhat(effect) && saysWhat(known) && !Buffer.from(known.bytes).equals(effect.bytes)) {
        tell(effect, 'changed', 'an announcement');
      }
    }
  }
  const endMs = Math.max(0, ...story.map(({ atMs }) => atMs));
  for (const [key, each] of first) {
    if (!keptKeys.has(key)) tell({ ...each, atMs: endMs }, 'purged', 'somebody');
  }
  return story.sort((a, b) => a.atMs - b.atMs);
}

/** One thing that a message of the ledger says. */
interface Effect {
  readonly request: string;
  readonly what: Ledger['what'];
  readonly unit?: number;
  readonly bytes: Uint8Array;
  readonly atMs: number;
}

/** LS3. */
function saysWhat({ what, bytes }: Effect): boolean {
  return what !== 'verdict' || bytes.length > 0;
}

function keyOf({ request, what, unit }: Effect): string {
  return `${what} ${request} ${unit}`;
}

/** An append has one effect per result in it. */
function effectsOf({ subject, bytes, atMs }: Stored, nameOf: (id: string) => string | undefined): readonly Effect[] {
  const [, stream = '', requestId = ''] = subject.split('.');
  const request = nameOf(requestId);
  const what = whats[stream as keyof typeof whats] as (typeof whats)[keyof typeof whats] | undefined;
  if (request === undefined || what === undefined) return [];
  if (stream !== 'res' && stream !== 'mres') return [{ request, what, bytes, atMs }];
  return resultsIn(stream, bytes).map((each) => ({ request, what, unit: each.index, bytes: each.bytes, atMs }));
}
