// Ledger story: what the ledger did, as somebody outside NATS saw it: announcements while it happened, and what is there at the end.
// An observer may miss announcements (its server was away), and a worker may repeat one; what is kept at the end is all there.
//
//   LS1. Two different contents under one subject are a change, whether both were announced or one was and the other is kept.
//   LS2. What was announced and is not kept was removed.

import type { Entry } from '../sim/history.js';

/** One message of the ledger. `subject` is `grm.<req|res|mres|fin>.<request>[.<sample>]`. */
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
  const tell = ({ subject, bytes, atMs }: Stored, how: Ledger['how'], by: string): void => {
    const [, stream = '', requestId = '', unit] = subject.split('.');
    const request = nameOf(requestId);
    const what = whats[stream as keyof typeof whats] as (typeof whats)[keyof typeof whats] | undefined;
    if (request === undefined || what === undefined) return;
    const value = Buffer.from(bytes).toString('latin1');
    story.push({
      kind: 'ledger',
      how,
      what,
      request,
      value,
      by,
      atMs,
      ...(unit !== undefined && { unit: Number(unit) }),
    });
  };

  const first = new Map<string, Stored>();
  for (const each of kept) {
    // A write-once stream holds one message on a subject.
    tell(each, first.has(each.subject) ? 'changed' : 'stored', 'the server');
    first.set(each.subject, each);
  }
  const keptSubjects = new Set(first.keys());
  for (const each of heard) {
    const known = first.get(each.subject);
    if (!known) {
      first.set(each.subject, each);
      tell(each, 'stored', 'an announcement');
    } else if (!Buffer.from(known.bytes).equals(each.bytes)) tell(each, 'changed', 'an announcement');
  }
  const endMs = Math.max(0, ...story.map(({ atMs }) => atMs));
  for (const [subject, each] of first) {
    if (!keptSubjects.has(subject)) tell({ ...each, atMs: endMs }, 'purged', 'somebody');
  }
  return story.sort((a, b) => a.atMs - b.atMs);
}
