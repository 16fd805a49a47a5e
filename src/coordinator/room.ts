// Room: whether the streams have room for one request more, besides all that was accepted and is not stored yet (promise P4).
//
//   F1. What was accepted finds room: a request is shed while the samples of all open requests, at what samples weigh now, would not fit
//       beside what is there and what has come since the last look.
//   F2. Nothing is accepted while a stream is missing, or is not what the promises rest on.
//   F3. With nothing open, a stream that is less than half full takes any request: it never fits better.

import { fault, type Fault } from '../fault.js';
import { limits } from '../limits.js';
import { isPressed } from '../work/pressure.js';
import type { Storage, StoreState } from '../queue/queue.js';

/** Requests that are open, here and at other coordinators, and their samples. */
export interface OpenWork {
  readonly requests: number;
  readonly samples: number;
}

export interface NoRoom {
  readonly why: 'storage' | 'queue_unavailable';
  readonly fault: Fault;
}

/** Of what a stream may hold: the last part is for what no estimate sees, such as meta rewards and marks. */
const usableRatio = 0.95;
/** A sample may weigh more than the mean, and is stored with its subject. */
const sampleMargin = 1.25;
/** A record or verdict besides its texts, bytes. */
const envelopeBytes = 2 * 1_024;
/** Work queues hold what the dispatchers let in; they are shed at a share. */
const workRatio = 0.9;
const emptyRatio = 0.5;
const retryAfterMs = 2_000;

export class Room {
  /** When each stream was last seen without room for another sample, by our clock. */
  readonly #fullAtMs = new Map<string, number>();

  constructor(
    private readonly storage: Pick<Storage, 'states' | 'troubles' | 'sampleBytes'>,
    private readonly open: () => OpenWork,
    private readonly now: () => number,
  ) {}

  /** Why a request of k samples and so many bytes cannot be accepted now; undefined when it can. */
  refuses(k: number, contentBytes: number): NoRoom | undefined {
    const [trouble] = this.storage.troubles();
    if (trouble !== undefined) {
      const words = `${trouble}; nothing is accepted until it is there`;
      return { why: 'queue_unavailable', fault: fault('queue_unavailable', words, { retryAfterMs }) };
    }
    const open = this.open();
    const need = this.#needs(open, k, contentBytes);
    for (const state of this.storage.states()) {
      const needed = need.get(state.stream);
      if (needed === undefined || fits(state, needed, open)) continue;
      const kept = open.samples > 0 ? `, and ${open.samples} accepted samples need their room` : '';
      const words = `the storage of ${state.stream} is nearly full: ${percent(usedRatio(state))} of ${state.bytesMax} bytes${kept}; retry when the janitor has made room, or raise nats.storage_bytes_max`;
      return { why: 'storage', fault: fault('overloaded', words, { retryAfterMs }) };
    }
    return undefined;
  }

  /** Bytes that what is open will still store, by stream: for the janitor. */
  reserve(): ReadonlyMap<string, number> {
    return this.#needs(this.open(), 0, 0);
  }

  /** True while a stream of the ledger is so full, or what is open needs so much of it, that the janitor should look. */
  isShort(): boolean {
    const reserve = this.reserve();
    return this.storage.states().some((state) => isPressed(state, reserve.get(state.stream) ?? 0));
  }

  /** After every look at the streams. */
  note(): void {
    const sample = 2 * this.storage.sampleBytes();
    for (const state of this.storage.states()) {
      if (state.bytesMax > 0 && state.bytes + sample > state.bytesMax) this.#fullAtMs.set(state.stream, this.now());
    }
  }

  /** Streams of results that were full at that time or later: they cost a request samples, if it misses any. */
  fullSince(ms: number): readonly string[] {
    return ['GRM_RES', 'GRM_WORK', 'GRM_META'].filter((stream) => (this.#fullAtMs.get(stream) ?? -Infinity) >= ms);
  }

  #needs({ requests, samples }: OpenWork, k: number, contentBytes: number): Map<string, number> {
    const sample = this.storage.sampleBytes() * sampleMargin;
    const isBig = contentBytes > limits.recordContentBytesMax;
    const texts = (samples + k) * sample;
    const verdictBlob = k * sample > limits.natsPayloadBytesMax ? k * sample : 0;
    return new Map([
      ['GRM_REQ', envelopeBytes + (isBig ? 0 : contentBytes)],
      ['GRM_RES', texts],
      ['GRM_FIN', texts + (requests + 1) * envelopeBytes],
      ['OBJ_GRM_BLOBS', (isBig ? contentBytes : 0) + verdictBlob],
      ['GRM_WORK', 0],
      ['GRM_META', 0],
    ]);
  }
}

function fits(state: StoreState, needed: number, open: OpenWork): boolean {
  if (state.bytesMax <= 0) return true;
  if (state.isRefusing) return false;
  if (state.stream === 'GRM_WORK' || state.stream === 'GRM_META') return usedRatio(state) < workRatio;
  if (needed === 0) return true;
  if (open.samples === 0 && state.bytes < emptyRatio * state.bytesMax) return true;
  return state.bytes + needed <= usableRatio * state.bytesMax;
}

/** Of bytes or messages, whichever is more. */
export function usedRatio({ bytes, bytesMax, messages, messagesMax }: StoreState): number {
  const ofBytes = bytesMax > 0 ? bytes / bytesMax : 0;
  const ofMessages = messagesMax > 0 ? messages / messagesMax : 0;
  return Math.min(1, Math.max(ofBytes, ofMessages));
}

function percent(ratio: number): string {
  return `${Math.round(100 * ratio)} %`;
}
