// Trim: makes room in the ledger and in the object store before they are full.
//
//   J3. Trimming never passes `oldestOpenAtMs`, and requests go before their verdicts, so that no finished request looks unfinished.
//   J4. No record without a verdict is trimmed, nor a sample of it, whether somebody runs it or not: what is open is read off the ledger.
//   J5. A blob is freed when its request has a verdict, or when it is too old to be of a message that is still on its way; contents go first.

import { lastMessage, purge, streamInfo, subjectsOf, type StreamState } from './api.js';
import type { Blobs, HeldBlob } from './blobs.js';
import type { ServerClock } from './clock.js';
import type { OnQueueEvent } from './events.js';
import type { Requests } from './requests.js';
import { filters, subjects } from './subjects.js';

export interface TrimmerParts {
  readonly requests: Requests;
  readonly blobs: Blobs;
  readonly clock: ServerClock;
  /** J3: kept besides what is open. */
  readonly trimMarginMs: number;
  /** J5: a blob without its message is left over after so long. */
  readonly blobOrphanMs: number;
  readonly onEvent: OnQueueEvent;
}

type LedgerStream = 'GRM_REQ' | 'GRM_RES' | 'GRM_FIN';
type StreamInfo = Awaited<ReturnType<typeof streamInfo>>;

interface Ledger {
  readonly requests: ReadonlySet<string>;
  readonly verdicts: ReadonlySet<string>;
}

interface Removable extends HeldBlob {
  readonly bytes: number;
  readonly storedAtMs: number;
  /** Its request has a verdict; otherwise it is left over. */
  readonly finished: boolean;
}

const ledgerStreams = ['GRM_REQ', 'GRM_RES', 'GRM_FIN'] as const;
/** Trimming starts above the first share of max_bytes and aims at the second. */
const pressure = { above: 0.7, aim: 0.5 } as const;
const readsAheadMax = 16;
const encoder = new TextEncoder();

export class Trimmer {
  /** Open requests and when the oldest of what they need was stored: it never gets older, so it is read once. */
  private openSinceMs = new Map<string, number>();

  constructor(private readonly parts: TrimmerParts) {}

  /** Does nothing but ask for the streams' sizes while there is room. */
  async trim(oldestOpenAtMs: number): Promise<void> {
    const infos = await Promise.all(
      ledgerStreams.map(async (name) => ({ name, info: await streamInfo(this.parts.requests, name) })),
    );
    const pressed = infos.filter(({ info }) => isPressed(info));
    const store = await streamInfo(this.parts.requests, 'OBJ_GRM_BLOBS');
    const storePressed = isPressed(store);
    if (pressed.length === 0 && !storePressed) return;
    // Blobs first and verdicts last: a message stored meanwhile makes its request look as it is, or its blob too young to touch.
    const held = storePressed ? await this.parts.blobs.held() : [];
    const ledger: Ledger = {
      requests: await this.ids('GRM_REQ', filters.requests),
      verdicts: await this.ids('GRM_FIN', filters.verdicts),
    };
    const nowMs = await this.parts.clock.now();
    if (pressed.length > 0) {
      const byClocksMs = Math.min(oldestOpenAtMs, nowMs) - this.parts.trimMarginMs;
      const keepFromMs = Math.min(byClocksMs, await this.oldestOpenMs(ledger));
      for (const { name, info } of pressed) await this.trimLedger(name, info, keepFromMs);
    }
    if (storePressed) await this.trimBlobs(store, held, ledger, nowMs);
  }

  private async ids(stream: LedgerStream, filter: string): Promise<ReadonlySet<string>> {
    const rows = await subjectsOf(this.parts.requests, stream, filter);
    return new Set(rows.map(({ subject }) => subject.slice(filter.length - 1)));
  }

  /** J4: server time of the oldest message that an open request needs; Infinity when none is open. */
  private async oldestOpenMs({ requests, verdicts }: Ledger): Promise<number> {
    const open = [...requests].filter((id) => !verdicts.has(id));
    const since = new Map<string, number>();
    let oldestMs = Infinity;
    await inParallel(open, async (id) => {
      const ms = this.openSinceMs.get(id) ?? (await this.neededSinceMs(id));
      // Listed and not there to be read: forgotten meanwhile, or its replica lags. Then nothing is trimmed this time.
      oldestMs = Math.min(oldestMs, ms ?? 0);
      if (ms !== undefined) since.set(id, ms);
    });
    this.openSinceMs = since;
    return oldestMs;
  }

  /** A sample may be older than the record, when the request was cancelled and came again. */
  private async neededSinceMs(requestId: string): Promise<number | undefined> {
    const [record, sample] = await Promise.all([
      this.firstMessage('GRM_REQ', 1, subjects.request(requestId)),
      this.firstMessage('GRM_RES', 1, filters.samples(requestId)),
    ]);
    return record && Math.min(record.timeMs, sample?.timeMs ?? Infinity);
  }

  /** What was stored at `keepFromMs` or later stays. */
  private async trimLedger(name: LedgerStream, info: StreamInfo, keepFromMs: number): Promise<void> {
    const belowMs = Math.min(keepFromMs, await this.aimMs(name, info));
    const streams: readonly LedgerStream[] = name === 'GRM_FIN' ? ['GRM_REQ', 'GRM_FIN'] : [name];
    for (const stream of streams) await this.trimStream(stream, belowMs);
  }

  /** Time of the message at which the stream is cut to reach its aim, if all messages were of one size. */
  private async aimMs(
    stream: LedgerStream,
    { bytesMax, state }: { readonly bytesMax: number; readonly state: StreamState },
  ): Promise<number> {
    const drop = 1 - (bytesMax * pressure.aim) / state.bytes;
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
    const purged = await purge(this.parts.requests, stream, { seq: low });
    if (purged > 0) this.parts.onEvent({ kind: 'trimmed', stream, messages: purged });
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

  /** J5. */
  private async trimBlobs(
    { bytesMax, state }: StreamInfo,
    held: readonly HeldBlob[],
    { requests, verdicts }: Ledger,
    nowMs: number,
  ): Promise<void> {
    const removable: Removable[] = [];
    await inParallel(held, async (blob) => {
      const finished = verdicts.has(blob.requestId);
      if (!finished && blob.holds === 'content' && requests.has(blob.requestId)) return;
      const info = await this.parts.blobs.info(blob.name);
      const ageMin = finished ? this.parts.trimMarginMs : this.parts.blobOrphanMs;
      if (info && nowMs - info.storedAtMs >= ageMin) removable.push({ ...blob, ...info, finished });
    });
    removable.sort((a, b) => (a.holds === b.holds ? a.storedAtMs - b.storedAtMs : a.holds === 'content' ? -1 : 1));
    let surplusBytes = state.bytes - bytesMax * pressure.aim;
    let freed = 0;
    for (const blob of removable) {
      if (surplusBytes <= 0) break;
      if (!(await this.removeBlob(blob))) continue;
      surplusBytes -= blob.bytes;
      freed += 1;
    }
    if (freed > 0) this.parts.onEvent({ kind: 'trimmed', stream: 'OBJ_GRM_BLOBS', messages: freed });
  }

  /** The messages that refer to a blob go before it (J3), so that nobody reads of a blob that is not there. */
  private async removeBlob({ name, holds, requestId, finished }: Removable): Promise<boolean> {
    if (finished) {
      // Reopened since it was listed?
      if (!(await lastMessage(this.parts.requests, 'GRM_FIN', subjects.verdict(requestId)))) return false;
      await purge(this.parts.requests, 'GRM_REQ', { filter: subjects.request(requestId) });
      if (holds === 'verdict') await purge(this.parts.requests, 'GRM_FIN', { filter: subjects.verdict(requestId) });
    }
    await this.parts.blobs.free(name);
    return true;
  }
}

function isPressed({ bytesMax, state }: StreamInfo): boolean {
  return state.bytes > bytesMax * pressure.above;
}

async function inParallel<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += readsAheadMax) {
    await Promise.all(items.slice(at, at + readsAheadMax).map(act));
  }
}
