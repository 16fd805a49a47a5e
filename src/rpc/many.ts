// Many: any number of requests over one ScoreStream at a time.
//
//   M1. Every request read from the source is answered exactly once: with its verdict, or with the fault that ended its tries.
//   M2. A request is open from being read until its result was taken: at most `concurrency` are. A slow taker stops the reading.
//   M3. A stream that breaks is opened again and everything unanswered is sent again, as the same requests: nothing is paid for twice.
//   M4. Shed and unavailable requests are sent again after their delay (retry.ts), each until its own deadline.
//   M5. The whole ends with GrmError when the service refuses the caller (token, tenant) or cannot be reached after all tries, or for
//       as long as those may take (a network that swallows everything makes each try last),
//       and with the source's own error when the source fails. What was open then is unanswered.

import type { ClientDuplexStream } from '@grpc/grpc-js';
import { fault, faults, type Fault } from '../fault.js';
import type { Verdict } from '../grm/verdict.js';
import { limits } from '../limits.js';
import { steadyNow } from '../process/clock.js';
import { verdictFromProto } from '../wire/convert.js';
import type {
  ScoreRequest as WireRequest,
  ScoreStreamRequest,
  ScoreStreamResponse,
} from '../wire/gen/grm/v1/reward.js';
import { GrmError } from './grm-error.js';
import type { JudgePins } from './judge-pins.js';
import { nextTry, patienceMs, type RetryPolicy } from './retry.js';
import { toMessage, type ScoreRequest } from './score-request.js';
import { faultOf, faultOfError } from './status.js';
import { TroubleTeller, type Trouble } from './trouble.js';

export interface ManyOptions {
  /** Requests open at once, 1..256 (limits.streamOpenMax). Default 256. */
  readonly concurrency?: number;
  /** For each request, from being read to its answer. Default 600 000. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
  /** Told when the service is away and tried again: at once, every few seconds, and when it is back. */
  readonly onTrouble?: (trouble: Trouble) => void;
}

/** `index` counts the source from 0; `request` is the very object that the source gave. */
export type ManyResult<R extends ScoreRequest = ScoreRequest> = {
  readonly index: number;
  readonly request: R;
} & ({ readonly kind: 'verdict'; readonly verdict: Verdict } | { readonly kind: 'fault'; readonly fault: Fault });

type Stream = ClientDuplexStream<ScoreStreamRequest, ScoreStreamResponse>;

export interface ManySettings {
  readonly open: () => Stream;
  readonly isConnected: () => boolean;
  readonly policy: RetryPolicy;
  readonly tenant: string;
  readonly pins: JudgePins;
  readonly deadlineMs: number;
}

export async function* scoreMany<R extends ScoreRequest>(
  settings: ManySettings,
  requests: Iterable<R> | AsyncIterable<R>,
  options: ManyOptions,
): AsyncGenerator<ManyResult<R>, void, undefined> {
  const many = new Many(settings, requests, options);
  try {
    for (;;) {
      const result = await many.next();
      if (!result) return;
      yield result;
    }
  } finally {
    many.close();
  }
}

interface Entry<R> {
  readonly index: number;
  readonly request: R;
  readonly message: WireRequest;
  readonly deadlineAtMs: number;
  tries: number;
  /** Waits for its next try. */
  timer?: NodeJS.Timeout;
}

/** How often deadlines are looked at: all requests have the same span, so the oldest open one is always first. */
const sweepEveryMs = 250;
/** For the last try. */
const connectMs = 5_000;

class Many<R extends ScoreRequest> {
  readonly #concurrency: number;
  readonly #source: Iterator<R, unknown> | AsyncIterator<R, unknown>;
  readonly #open = new Map<string, Entry<R>>();
  /** Open entries to be sent, oldest first. */
  #unsent: Entry<R>[] = [];
  readonly #ready: ManyResult<R>[] = [];
  readonly #sweep: NodeJS.Timeout;
  readonly #abort = () => this.#fail(new GrmError(fault('cancelled', 'the caller cancelled')));
  #stream: Stream | undefined;
  #streamFull = false;
  #reconnect: NodeJS.Timeout | undefined;
  /** Streams that failed since the last answer. */
  #failures = 0;
  /** Since the first stream that failed and until one is connected again. */
  #lost: { readonly fault: Fault; readonly endsAtMs: number } | undefined;
  readonly #trouble: TroubleTeller;
  #count = 0;
  #feeding = false;
  #sourceDone = false;
  #closed = false;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(
    private readonly settings: ManySettings,
    requests: Iterable<R> | AsyncIterable<R>,
    private readonly options: ManyOptions,
  ) {
    this.#concurrency = Math.min(limits.streamOpenMax, Math.max(1, options.concurrency ?? limits.streamOpenMax));
    this.#source = Symbol.asyncIterator in requests ? requests[Symbol.asyncIterator]() : requests[Symbol.iterator]();
    this.#trouble = new TroubleTeller((trouble) => options.onTrouble?.(trouble), steadyNow);
    this.#sweep = setInterval(() => {
      this.#expire();
      this.#checkLost();
    }, sweepEveryMs);
    if (options.signal?.aborted) this.#abort();
    else options.signal?.addEventListener('abort', this.#abort, { once: true });
  }

  async next(): Promise<ManyResult<R> | undefined> {
    for (;;) {
      const result = this.#ready.shift();
      if (this.#hasRoom()) void this.#feed();
      if (result) return result;
      if (this.#failure) throw this.#failure;
      if (this.#sourceDone && this.#open.size === 0 && this.#ready.length === 0) return undefined;
      if (this.#ready.length > 0) continue;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#sweep);
    clearTimeout(this.#reconnect);
    this.options.signal?.removeEventListener('abort', this.#abort);
    for (const { timer } of this.#open.values()) clearTimeout(timer);
    const stream = this.#stream;
    this.#stream = undefined;
    if (this.#open.size === 0) stream?.end();
    else stream?.cancel();
    if (!this.#sourceDone) void Promise.resolve(this.#source.return?.()).catch(() => undefined);
  }

  /** Reads the source while there is room (M2). */
  async #feed(): Promise<void> {
    this.#feeding = true;
    try {
      while (!this.#sourceDone && !this.#over() && this.#taken() < this.#concurrency) {
        const answer = this.#source.next();
        const next: IteratorResult<R, unknown> = answer instanceof Promise ? await answer : answer;
        if (next.done) this.#sourceDone = true;
        else this.#take(next.value);
      }
      if (this.#sourceDone) this.#stir();
    } catch (error) {
      this.#sourceDone = true;
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#feeding = false;
    }
  }

  #take(request: R): void {
    const index = this.#count++;
    const asking = toMessage(request, this.settings.tenant);
    if (asking.kind === 'fault') return this.#give({ index, request, kind: 'fault', fault: asking.fault });
    const deadlineAtMs = steadyNow() + this.settings.deadlineMs;
    const entry: Entry<R> = { index, request, message: asking.message, deadlineAtMs, tries: 0 };
    this.#open.set(String(index), entry);
    this.#unsent.push(entry);
    this.#send();
  }

  #send(): void {
    if (this.#over() || this.#reconnect) return;
    const stream = (this.#stream ??= this.#openStream());
    if (!stream) return;
    let sent = 0;
    while (!this.#streamFull && sent < this.#unsent.length) {
      const { index, message } = this.#unsent[sent++]!;
      const correlationId = String(index);
      if (this.#open.has(correlationId))
        this.#streamFull = !stream.write({ correlationId, request: this.settings.pins.stamped(message) });
    }
    if (sent > 0) this.#unsent.splice(0, sent);
  }

  /** undefined when the client is closed: then the whole has failed. */
  #openStream(): Stream | undefined {
    let stream: Stream;
    try {
      stream = this.settings.open();
    } catch (error) {
      this.#fail(new GrmError(faultOfError(error)));
      return undefined;
    }
    this.#streamFull = false;
    stream.on('data', (response: ScoreStreamResponse) => this.#hear(response));
    stream.on('drain', () => {
      this.#streamFull = false;
      this.#send();
    });
    stream.on('error', (error: unknown) => this.#broken(stream, faultOfError(error)));
    stream.on('end', () => this.#broken(stream, fault('unreachable', 'the stream ended early')));
    return stream;
  }

  #hear({ correlationId, outcome }: ScoreStreamResponse): void {
    this.#failures = 0;
    const entry = this.#open.get(correlationId);
    // Late: its deadline passed, or it was sent twice around a reconnect.
    if (!entry || !outcome) return;
    if (outcome.$case === 'status')
      return this.#failed(entry, this.settings.pins.worded(entry.message, faultOf(outcome.value)));
    this.#found();
    let verdict: Verdict;
    try {
      verdict = verdictFromProto(outcome.value);
    } catch (error) {
      return this.#settle(entry, { kind: 'fault', fault: faultOfError(error) });
    }
    const refused = this.settings.pins.refuse(entry.message, verdict);
    this.#settle(entry, refused ? { kind: 'fault', fault: refused } : { kind: 'verdict', verdict });
  }

  #failed(entry: Entry<R>, it: Fault): void {
    if (entry.timer) return;
    const leftMs = entry.deadlineAtMs - steadyNow();
    const next = nextTry(it, ++entry.tries, leftMs, this.settings.policy, Math.random);
    if (next.kind === 'never') return this.#settle(entry, { kind: 'fault', fault: it });
    if (faults[it.kind].grpc === 'UNAVAILABLE') this.#trouble.away(it, patienceMs(this.settings.policy, entry.tries));
    entry.timer = setTimeout(() => {
      delete entry.timer;
      this.#unsent.push(entry);
      this.#send();
    }, next.delayMs);
  }

  /** The stream is gone: whatever it owed is sent again on the next one (M3), unless there is no next one (M5). */
  #broken(stream: Stream, it: Fault): void {
    if (stream !== this.#stream) return;
    this.#stream = undefined;
    this.#streamFull = false;
    if (this.#over() || (this.#sourceDone && this.#open.size === 0)) return;
    const next = nextTry(it, ++this.#failures, this.settings.deadlineMs, this.settings.policy, Math.random);
    if (next.kind === 'never') return this.#fail(new GrmError(it));
    const endsAtMs = this.#lost?.endsAtMs ?? steadyNow() + patienceMs(this.settings.policy);
    this.#lost = { fault: it, endsAtMs };
    this.#trouble.away(it, endsAtMs - steadyNow());
    this.#unsent = [...this.#open.values()].filter((entry) => !entry.timer);
    this.#reconnect = setTimeout(() => {
      this.#reconnect = undefined;
      if (this.#open.size > 0) this.#send();
    }, next.delayMs);
  }

  /** A stream alone does not tell that somebody is there: it waits for its connection. */
  #checkLost(): void {
    if (!this.#lost || this.#over()) return;
    if (this.#stream && this.settings.isConnected()) return this.#found();
    const { fault: it, endsAtMs } = this.#lost;
    const leftMs = endsAtMs - steadyNow();
    if (leftMs > 0) this.#trouble.away(it, leftMs);
    // The last try is under way; without its connection it may take its time.
    else if (leftMs < -connectMs) this.#fail(new GrmError(it));
  }

  #found(): void {
    this.#lost = undefined;
    this.#trouble.back();
  }

  #expire(): void {
    const now = steadyNow();
    for (const entry of this.#open.values()) {
      if (entry.deadlineAtMs > now) return;
      this.#settle(entry, { kind: 'fault', fault: fault('deadline_exceeded', faults.deadline_exceeded.doc) });
    }
  }

  #settle(
    entry: Entry<R>,
    outcome:
      { readonly kind: 'verdict'; readonly verdict: Verdict } | { readonly kind: 'fault'; readonly fault: Fault },
  ): void {
    clearTimeout(entry.timer);
    this.#open.delete(String(entry.index));
    this.#give({ index: entry.index, request: entry.request, ...outcome });
  }

  #give(result: ManyResult<R>): void {
    this.#ready.push(result);
    this.#stir();
  }

  #fail(failure: Error): void {
    this.#failure ??= failure;
    this.#stir();
  }

  #taken(): number {
    return this.#open.size + this.#ready.length;
  }

  #hasRoom(): boolean {
    return !this.#feeding && !this.#sourceDone && !this.#over() && this.#taken() < this.#concurrency;
  }

  #over(): boolean {
    return this.#closed || this.#failure !== undefined;
  }

  #stir(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
