// Many: any number of requests over one ScoreStream at a time.
//
//   M1. Every request read from the source is answered exactly once: with its verdict, or with the fault that ended its tries.
//   M2. A request is open from being read until its result was taken: at most `concurrency` are. A slow taker stops the reading.
//   M3. A stream that breaks is opened again and everything unanswered is sent again, as the same requests: nothing is paid for twice.
//   M4. Shed and unavailable requests are sent again after their delay (retry.ts), each until its own deadline.
//   M5. The whole ends with GrmError when the service refuses the caller (token, tenant) or cannot be reached after all tries, or for
//       as long as those may take (a network that swallows everything makes each try last),
//       and with the source's own error when the source fails. What was open then is unanswered.
//   M6. Patient work (files) loses no request to time alone: what may be open follows the cluster's slots (open-limit.ts), and a request whose
//       time ended is asked again (again.ts). While no engine serves nothing is sent, and no try is spent. Without an engine, or with engines
//       that bring nothing, the whole ends with GrmError of kind `no_engine`.

import type { ClientDuplexStream } from '@grpc/grpc-js';
import { fault, faults, type Fault } from '../fault.js';
import type { Verdict } from '../grm/verdict.js';
import { limits } from '../limits.js';
import { steadyNow, systemClock } from '../process/clock.js';
import { verdictFromProto } from '../wire/convert.js';
import type { ScoreStreamRequest, ScoreStreamResponse } from '../wire/gen/grm/v1/reward.js';
import { endedByTime, type Outcome } from './again.js';
import { EngineWatch, type EngineHearer } from './engine-watch.js';
import { GrmError } from './grm-error.js';
import type { JudgePins } from './judge-pins.js';
import { Entry } from './many-entry.js';
import { OpenLimit, type Serving } from './open-limit.js';
import { nextTry, patienceMs, type RetryPolicy } from './retry.js';
import { toMessage, type ScoreRequest } from './score-request.js';
import { faultOf, faultOfError } from './status.js';
import { TroubleTeller, type Trouble } from './trouble.js';

export interface ManyOptions {
  /** Requests open at once, 1..256 (limits.streamOpenMax); patient work may have fewer. Default 256. */
  readonly concurrency?: number;
  /** For each request, from being read to its answer. Default: that of a single call; patient work has none. */
  readonly deadlineMs?: number;
  /**
   * For files: nobody waits for a single answer. A request without a time budget has the longest one, no more requests are open than the
   * cluster's slots take up soon, and a request that only time ended is asked again with twice the time. Default false.
   */
  readonly patient?: boolean;
  /** How long patient work waits while no engine serves. Default: a minute, and ten while one is being started. */
  readonly noEngineMs?: number;
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
  /** What serves the samples; undefined where that cannot be known. Rejects when it is to be asked again. */
  readonly serving: () => Promise<Serving | undefined>;
  readonly pins: JudgePins;
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

/** How often deadlines are looked at, and what may be open. */
const sweepEveryMs = 250;
/** A stream that is lost for less is no news: a server ends its connections now and then, and the next one is there at once. */
const lostQuietMs = 1_000;
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
  #lost: { readonly fault: Fault; readonly sinceMs: number; readonly endsAtMs: number } | undefined;
  /** M6. */
  readonly #limit: OpenLimit | undefined;
  readonly #engines: EngineWatch | undefined;
  /** When a verdict came, or a sample of a request that is asked again. */
  #newsAtMs = steadyNow();
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
    this.#limit = options.patient ? new OpenLimit(this.#concurrency) : undefined;
    this.#sweep = setInterval(() => {
      this.#expire();
      this.#checkLost();
      this.#widen();
    }, sweepEveryMs);
    if (options.patient) this.#engines = this.#watchEngines();
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
    this.#engines?.close();
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
      while (!this.#sourceDone && !this.#over() && this.#taken() < this.#room()) {
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
    const nowMs = steadyNow();
    this.#limit?.opened(request.k, nowMs);
    this.#ask(new Entry(index, request, asking.message, this.options, nowMs));
  }

  #ask(entry: Entry<R>): void {
    this.#open.set(entry.key, entry);
    this.#unsent.push(entry);
    this.#send();
  }

  #send(): void {
    if (this.#over() || this.#reconnect || this.#unsent.length === 0 || this.#room() === 0) return;
    const stream = (this.#stream ??= this.#openStream());
    if (!stream) return;
    let sent = 0;
    while (!this.#streamFull && sent < this.#unsent.length) {
      const { key, message } = this.#unsent[sent++]!;
      if (this.#open.has(key))
        this.#streamFull = !stream.write({ correlationId: key, request: this.settings.pins.stamped(message) });
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
    if (refused) this.#settle(entry, { kind: 'fault', fault: refused });
    else this.#ended(entry, { kind: 'verdict', verdict });
  }

  #failed(entry: Entry<R>, it: Fault): void {
    if (entry.timer) return;
    const leftMs = entry.deadlineAtMs - steadyNow();
    const next = nextTry(it, ++entry.failures, leftMs, this.settings.policy, Math.random);
    if (next.kind === 'never') return this.#ended(entry, { kind: 'fault', fault: it });
    if (it.kind === 'overloaded') this.#limit?.shed(this.#open.size, steadyNow());
    if (faults[it.kind].grpc === 'UNAVAILABLE' && entry.failures > 1)
      this.#trouble.away(it, patienceMs(this.settings.policy, entry.failures));
    entry.timer = setTimeout(() => {
      entry.timer = undefined;
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
    const nowMs = steadyNow();
    const leftMs = this.options.deadlineMs ?? Infinity;
    const next = nextTry(it, ++this.#failures, leftMs, this.settings.policy, Math.random);
    if (next.kind === 'never') return this.#fail(new GrmError(it));
    const endsAtMs = this.#lost?.endsAtMs ?? nowMs + patienceMs(this.settings.policy);
    this.#lost = { fault: it, sinceMs: this.#lost?.sinceMs ?? nowMs, endsAtMs };
    if (this.#failures > 1) this.#trouble.away(it, endsAtMs - nowMs);
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
    const { fault: it, sinceMs, endsAtMs } = this.#lost;
    const nowMs = steadyNow();
    const leftMs = endsAtMs - nowMs;
    if (nowMs - sinceMs < lostQuietMs && leftMs > 0) return;
    if (leftMs > 0) this.#trouble.away(it, leftMs);
    // The last try is under way; without its connection it may take its time.
    else if (leftMs < -connectMs) this.#fail(new GrmError(it));
  }

  #found(): void {
    this.#lost = undefined;
    if (!this.#engines?.away) this.#trouble.back();
  }

  #expire(): void {
    // What waits for an engine is at no try; what the service holds, it answers.
    if (this.#engines?.away) return;
    const now = steadyNow();
    const over = [...this.#open.values()].filter(({ deadlineAtMs }) => deadlineAtMs <= now);
    for (const entry of over)
      this.#ended(entry, { kind: 'fault', fault: fault('deadline_exceeded', faults.deadline_exceeded.doc) });
  }

  /** An answer, or the end of its time: patient work asks again where time is all that it takes (M6). */
  #ended(entry: Entry<R>, outcome: Outcome): void {
    const nowMs = steadyNow();
    if (!this.#limit || !endedByTime(outcome)) {
      this.#newsAtMs = nowMs;
      if (outcome.kind === 'verdict') this.#limit?.answered(outcome.verdict.k, nowMs);
      return this.#settle(entry, outcome);
    }
    this.#limit.shed(this.#open.size, nowMs);
    const { key } = entry;
    const again = entry.again(outcome, nowMs);
    this.#newsAtMs = Math.max(this.#newsAtMs, entry.newsAtMs);
    if (again) {
      this.#open.delete(key);
      return this.#ask(entry);
    }
    const silentMs = nowMs - this.#newsAtMs;
    if (silentMs < limits.againWithoutSampleMs) return this.#settle(entry, outcome);
    const words = `no sample came within ${Math.round(silentMs / 1_000)} s`;
    this.#fail(new GrmError(outcome.kind === 'fault' ? outcome.fault : fault('no_engine', words)));
  }

  #watchEngines(): EngineWatch {
    const hearer: EngineHearer = {
      found: (serving) => {
        this.#limit?.serving(serving);
        this.#widen();
        this.#send();
      },
      away: (it, leftMs) => this.#trouble.away(it, leftMs),
      back: () => {
        this.#trouble.back();
        for (const entry of this.#open.values()) entry.resumed(steadyNow());
      },
      over: (it) => this.#fail(new GrmError(it)),
    };
    return new EngineWatch(this.settings.serving, hearer, systemClock, this.options.noEngineMs);
  }

  #widen(): void {
    if (this.#hasRoom()) void this.#feed();
  }

  #settle(entry: Entry<R>, outcome: Outcome): void {
    clearTimeout(entry.timer);
    this.#open.delete(entry.key);
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

  #room(): number {
    return this.#limit?.now(steadyNow()) ?? this.#concurrency;
  }

  #hasRoom(): boolean {
    return !this.#feeding && !this.#sourceDone && !this.#over() && this.#taken() < this.#room();
  }

  #over(): boolean {
    return this.#closed || this.#failure !== undefined;
  }

  #stir(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
