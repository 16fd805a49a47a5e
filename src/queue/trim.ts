// Trim: makes room in the ledger before it is full. Blobs are freed in trim-blobs.ts.
//
//   J3. Trimming never passes `oldestOpenAtMs`, and requests go before their verdicts, so that no finished request looks unfinished.
//   J4. No record without a verdict is trimmed, nor a sample of it, whether somebody runs it or not: what is open is read off the ledger.
//   J7. Where an old open request stands before so much that what is open would not fit any more, samples behind it that no open request needs
//       go one by one, from the front.

import { deleteMessage, purge, streamInfo, type StreamState } from './api.js';
import type { ServerClock } from './clock.js';
import type { OnQueueEvent } from './events.js';
import type { Link } from './link.js';
import type { OpenRequest, OpenRequests } from './open-requests.js';
import { aimOf, isPressed, isTight } from '../work/pressure.js';
import type { SweepState } from './queue.js';
import type { Requests } from './requests.js';
import { filters, subjects } from './subjects.js';
import type { BlobTrimmer } from './trim-blobs.js';
import { Walk } from './walk.js';

export interface TrimmerParts {
  readonly link: Link;
  readonly requests: Requests;
  readonly blobs: BlobTrimmer;
  readonly open: OpenRequests;
  /** Whether a request has a record and no verdict, by the streams' leaders. */
  readonly isOpen: (requestId: string) => Promise<boolean>;
  readonly clock: ServerClock;
  /** J3: kept besides what is open. */
  readonly trimMarginMs: number;
  readonly onEvent: OnQueueEvent;
}

type LedgerStream = 'GRM_REQ' | 'GRM_RES' | 'GRM_FIN';

interface StreamInfo {
  readonly stream: string;
  readonly bytes: number;
  readonly bytesMax: number;
  readonly state: StreamState;
}

const ledgerStreams = ['GRM_REQ', 'GRM_RES', 'GRM_FIN'] as const;
export const readsAheadMax = 16;
/** J7: messages of one pass, and deletions under way at once. */
const pinnedStepsMax = 20_000;
const deletesAheadMax = 64;
const encoder = new TextEncoder();

export class Trimmer {
  /** Open requests and when the oldest of what they need was stored: it never gets older, so it is read once. */
  private openSinceMs = new Map<string, { readonly seq: number; readonly ms: number }>();

  constructor(private readonly parts: TrimmerParts) {}

  /** Does nothing but ask for the streams' sizes while there is room. */
  async trim({ oldestOpenAtMs, reserveBytes }: Pick<SweepState, 'oldestOpenAtMs' | 'reserveBytes'>): Promise<void> {
    const reserve = (stream: string): number => reserveBytes?.get(stream) ?? 0;
    const infos = await Promise.all(ledgerStreams.map(async (name) => ({ name, info: await this.info(name) })));
    const pressed = infos.filter(({ info }) => isPressed(info, reserve(info.stream)));
    const store = await this.info('OBJ_GRM_BLOBS');
    const storePressed = isPressed(store, reserve(store.stream));
    if (pressed.length === 0 && !storePressed) return;
    // Blobs first and verdicts last: a message stored meanwhile makes its request look as it is, or its blob too young to touch.
    const held = storePressed ? await this.parts.blobs.held() : [];
    await this.parts.open.look();
    const nowMs = await this.parts.clock.now();
    if (pressed.length > 0) {
      const byClocksMs = Math.min(oldestOpenAtMs, nowMs) - this.parts.trimMarginMs;
      const keepFromMs = Math.min(byClocksMs, await this.oldestOpenMs());
      for (const { name, info } of pressed) {
        const aimBytes = aimOf(info, reserve(name));
        await this.trimLedger(name, info, keepFromMs, aimBytes);
        if (name === 'GRM_RES') await this.trimPinned(reserve(name), nowMs - this.parts.trimMarginMs);
      }
    }
    if (storePressed) await this.parts.blobs.trim(store.bytes - aimOf(store, reserve(store.stream)), held, nowMs);
  }

  private async info(stream: string): Promise<StreamInfo> {
    const { state, bytesMax } = await streamInfo(this.parts.requests, stream);
    return { stream, bytes: state.bytes, bytesMax, state };
  }

  /** J4: server time of the oldest message that an open request needs; Infinity when none is open. */
  private async oldestOpenMs(): Promise<number> {
    const since = new Map<string, { readonly seq: number; readonly ms: number }>();
    await inParallel([...this.parts.open.entries()], async ([id, entry]) => {
      const known = this.openSinceMs.get(id);
      since.set(id, known?.seq === entry.seq ? known : { seq: entry.seq, ms: await this.neededSinceMs(id, entry) });
    });
    this.openSinceMs = since;
    // What is in mind may be over (open-requests.ts, O3): the oldest that is open decides.
    for (const [id, { ms }] of [...since].sort(([, a], [, b]) => a.ms - b.ms)) {
      if (await this.parts.isOpen(id)) return ms;
      this.parts.open.drop(id, Date.now());
      since.delete(id);
    }
    return Infinity;
  }

  /** A sample may be older than the record, when the request was cancelled and came again; what was taken up again is older than its mark. */
  private async neededSinceMs(requestId: string, { atMs, isReopened }: OpenRequest): Promise<number> {
    const [record, sample] = await Promise.all([
      isReopened ? this.firstMessage('GRM_REQ', 1, subjects.request(requestId)) : undefined,
      this.firstMessage('GRM_RES', 1, filters.samples(requestId)),
    ]);
    return Math.min(atMs, record?.timeMs ?? Infinity, sample?.timeMs ?? Infinity);
  }

  /** What was stored at `keepFromMs` or later stays. */
  private async trimLedger(name: LedgerStream, info: StreamInfo, keepFromMs: number, aimBytes: number): Promise<void> {
    const belowMs = Math.min(keepFromMs, await this.aimMs(name, info, aimBytes));
    const streams: readonly LedgerStream[] = name === 'GRM_FIN' ? ['GRM_REQ', 'GRM_FIN'] : [name];
    for (const stream of streams) await this.trimStream(stream, belowMs);
  }

  /** Time of the message at which the stream is cut to reach its aim, if all messages were of one size. */
  private async aimMs(stream: LedgerStream, { state }: StreamInfo, aimBytes: number): Promise<number> {
    const drop = Math.max(0, 1 - aimBytes / state.bytes);
    const seq = state.first_seq + Math.floor((state.last_seq - state.first_seq) * drop);
    return ((await this.firstMessage(stream, seq, '>'))?.timeMs ?? 0) + 1;
  }

  private async trimStream(stream: LedgerStream, belowMs: number): Promise<void> {
    const { state } = await streamInfo(this.parts.requests, stream);
    // The first sequence stored at belowMs or later; last_seq + 1 when none is.
    let low = state.first_seq;
    let high = state.last_seq + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const message = await this.firstMessage(stream, middle, '>');
      if (!message || message.timeMs >= belowMs) high = middle;
      else low = message.seq + 1;
    }
    if (low <= state.first_seq) return;
    this.tell(stream, await purge(this.parts.requests, stream, { seq: low }));
  }

  /** J7. What is open is in mind since before `oldMs`, so whatever is as old and not in mind is over. */
  private async trimPinned(reserveBytes: number, oldMs: number): Promise<void> {
    const { requests, link, open } = this.parts;
    const info = await this.info('GRM_RES');
    const { state } = info;
    if (state.messages === 0 || !isTight(info, reserveBytes)) return;
    const aimBytes = aimOf(info, reserveBytes);
    const eachBytes = state.bytes / state.messages;
    let left = Math.ceil((state.bytes - aimBytes) / eachBytes);
    let gone = 0;
    const walk = await Walk.open(link, requests, 'GRM_RES', state.first_seq);
    try {
      for (let steps = 0; steps < pinnedStepsMax && left > 0;) {
        const batch = await walk.next();
        if (batch.length === 0) break;
        steps += batch.length;
        const over = batch.filter(({ subject, atMs }) => atMs < oldMs && !open.entries().has(requestOf(subject)));
        const now = over.slice(0, left);
        left -= now.length;
        await inParallel(now, ({ seq }) => deleteMessage(requests, 'GRM_RES', seq), deletesAheadMax);
        gone += now.length;
        if ((batch.at(-1)?.atMs ?? oldMs) >= oldMs) break;
      }
    } finally {
      await walk.close();
      this.tell('GRM_RES', gone);
    }
  }

  private tell(stream: string, messages: number): void {
    if (messages > 0) this.parts.onEvent({ kind: 'trimmed', stream, messages });
  }

  /** The first message at or after `seq` on the subject, which may be a filter. */
  private async firstMessage(
    stream: LedgerStream,
    seq: number,
    subject: string,
  ): Promise<{ seq: number; timeMs: number } | undefined> {
    const body = encoder.encode(JSON.stringify({ seq, next_by_subj: subject }));
    const { headers } = await this.parts.requests.call(`$JS.API.DIRECT.GET.${stream}`, body);
    const time = headers?.get('Nats-Time-Stamp') ?? '';
    return time === '' ? undefined : { seq: Number(headers?.get('Nats-Sequence')), timeMs: Date.parse(time) };
  }
}

/** `grm.res.<request>.<append>` and `grm.mres...`, or `grm.void.<kind>.<request>.<append>`. */
function requestOf(subject: string): string {
  const [, kind, first = '', second = ''] = subject.split('.');
  return kind === 'void' ? second : first;
}

export async function inParallel<T>(
  items: readonly T[],
  act: (item: T) => Promise<void>,
  aheadMax = readsAheadMax,
): Promise<void> {
  for (let at = 0; at < items.length; at += aheadMax) {
    await Promise.all(items.slice(at, at + aheadMax).map(act));
  }
}
