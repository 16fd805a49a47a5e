// Storage: are the streams there, are they what they should be, and how full are they. Looked at every few seconds, and at once when the
// server has no stream for what was sent.
//
//   W1. Who owns the streams makes a missing one (or a missing consumer) anew, at once. Until it is there `troubles` names it.
//   W2. A setting that somebody changed is put right once. One that is changed back is somebody's will, perhaps another owner's with another
//       configuration: it is told as drift, what is there counts, and only what the promises rest on is a trouble.
//   W3. A look costs one call per stream, ends within limits.queueCallMs, and there is one at a time.
//   W4. Whoever listens is told of each stream whose messages went without us: it was made anew, or it was emptied.

import type { JetStreamManager } from '@nats-io/jetstream';
import { limits } from '../limits.js';
import { consumersOf, tryStreamInfo, type StreamFound } from './api.js';
import type { OnQueueEvent } from './events.js';
import type { Link } from './link.js';
import type { Look, Storage, StoreState } from './queue.js';
import type { Requests } from './requests.js';
import type { ConsumerWanted, StreamName, StreamWanted } from './streams.js';
import { differences, ensureTopology } from './topology.js';

export interface StorageParts {
  readonly link: Link;
  readonly requests: Requests;
  readonly jsm: JetStreamManager;
  readonly streams: readonly StreamWanted[];
  readonly consumers: readonly ConsumerWanted[];
  readonly own: boolean;
  readonly storageBytesMax: number;
  /** Default limits.storageLookMs. */
  readonly everyMs: number;
  readonly onEvent: OnQueueEvent;
}

interface Seen {
  readonly atMs: number;
  readonly bytes: number;
  readonly bytesMax: number;
  readonly messages: number;
  readonly messagesMax: number;
  readonly created: string;
  /** Bytes per millisecond since the look before, never below 0. */
  readonly growth: number;
}

/** What promises P1 and P2 rest on: with another value nothing may be accepted. */
const vital: ReadonlySet<string> = new Set([
  'subjects',
  'retention',
  'discard',
  'discard_new_per_subject',
  'max_msgs_per_subject',
]);
/** Emptied ones lose what somebody may need; the work queues are empty whenever all is done. */
const kept: ReadonlySet<string> = new Set<StreamName>(['GRM_REQ', 'GRM_RES', 'GRM_FIN']);
const workStreams: readonly StreamName[] = ['GRM_WORK', 'GRM_META'];
/** Differences that are remembered as put right. */
const mendedMax = 256;
/** A server that has just refused a message for want of room is believed for so long. */
const refusedMs = 3_000;

export class StreamStorage implements Storage {
  private readonly seen = new Map<string, Seen>();
  /** By stream, or for the whole of JetStream. */
  private readonly wrong = new Map<string, string>();
  private drifting: readonly string[];
  /** W2: what was put right before. */
  private readonly mended = new Set<string>();
  private readonly refusedAtMs = new Map<string, number>();
  private readonly hearers = new Set<(look: Look) => void>();
  private looking: Promise<void> | undefined;
  private lookedAtMs = -Infinity;
  private timer: NodeJS.Timeout | undefined;
  private closed = false;
  private bytesOfSample: number = limits.sampleBytesGuess;

  constructor(
    private readonly parts: StorageParts,
    drift: readonly string[],
  ) {
    this.drifting = drift;
    if (!parts.own) return;
    parts.requests.onNobody(() => {
      if (Date.now() - this.lookedAtMs >= limits.storageLookMsMin) void this.look();
    });
    this.again();
  }

  drift(): readonly string[] {
    return this.drifting;
  }

  troubles(): readonly string[] {
    return [...this.wrong.values()];
  }

  states(): readonly StoreState[] {
    const now = Date.now();
    return this.parts.streams.map(({ name }) => {
      const seen = this.seen.get(name);
      const trouble = this.wrong.get(name);
      const sinceMs = seen ? now - seen.atMs : 0;
      const isRefusing = now - (this.refusedAtMs.get(name) ?? -Infinity) < refusedMs;
      return {
        stream: name,
        bytes: (seen?.bytes ?? 0) + (seen?.growth ?? 0) * sinceMs,
        bytesMax: seen?.bytesMax ?? 0,
        messages: seen?.messages ?? 0,
        messagesMax: seen?.messagesMax ?? 0,
        isRefusing,
        ...(trouble !== undefined && { trouble }),
      };
    });
  }

  sampleBytes(): number {
    return this.bytesOfSample;
  }

  /** Weighs a sample by what came: a slow mean, and at once more than that where they are getting bigger. */
  noteSamples(bytes: number, count: number): void {
    if (count === 0) return;
    const each = bytes / count;
    const weight = each > this.bytesOfSample ? 0.25 : 0.02;
    this.bytesOfSample += weight * (each - this.bytesOfSample);
  }

  /** The server refused a message for want of room. */
  noteRefused(subject: string): void {
    const stream = streamOf(subject);
    if (stream !== undefined) this.refusedAtMs.set(stream, Date.now());
  }

  onLook(hear: (look: Look) => void): () => void {
    this.hearers.add(hear);
    return () => void this.hearers.delete(hear);
  }

  look(): Promise<void> {
    this.looking ??= this.lookNow()
      .catch((error: unknown) => {
        this.parts.onEvent({ kind: 'waiting', words: `the look at the streams failed: ${wordsOf(error)}` });
      })
      .finally(() => (this.looking = undefined));
    return this.looking;
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    await this.looking;
  }

  private again(): void {
    if (this.closed) return;
    this.timer = setTimeout(() => {
      void this.look().finally(() => this.again());
    }, this.parts.everyMs);
    this.timer.unref();
  }

  private async lookNow(): Promise<void> {
    const { link, requests, streams } = this.parts;
    if (!link.connected() || this.closed) return;
    const found = await Promise.all(streams.map(({ name }) => tryStreamInfo(requests, name)));
    this.lookedAtMs = Date.now();
    const lost: string[] = [];
    const toMake: StreamWanted[] = [];
    const toMend: StreamWanted[] = [];
    const drift: string[] = [];
    for (const [at, wanted] of streams.entries()) {
      const answer = found[at]!;
      const { name } = wanted;
      if (answer.kind === 'missing') {
        toMake.push(wanted);
        lost.push(name);
        this.seen.delete(name);
        this.trouble(name, `stream ${name} is missing: somebody removed it, or nats-server lost its store`);
        continue;
      }
      if (answer.kind === 'silent') {
        this.trouble(name, `stream ${name} does not answer: ${answer.why}`);
        continue;
      }
      if (this.note(name, answer)) lost.push(name);
      const wrong = differences({ what: `stream ${name}`, wanted: { ...wanted } }, answer.config);
      drift.push(...wrong);
      const isVital = wrong.some((words) => isVitalTo(wanted, words, answer.config));
      const words = `stream ${name} was changed and cannot be worked with: ${wrong.join('; ')}`;
      if (isVital) this.trouble(name, words);
      else this.wrong.delete(name);
      if (wrong.length > 0 && wrong.some((line) => !this.mended.has(line) && !this.drifting.includes(line)))
        toMend.push(wanted);
      if (this.parts.own) this.remember(wrong);
    }
    this.drifting = drift;
    await this.mend(toMake, toMend);
    await this.mendConsumers(toMake);
    const isIdle = workStreams.every((name) => this.seen.get(name)?.messages === 0);
    for (const hear of [...this.hearers]) {
      try {
        hear({ lost, isIdle });
      } catch (error) {
        this.parts.onEvent({ kind: 'waiting', words: `a listener of the streams failed: ${wordsOf(error)}` });
      }
    }
  }

  private remember(lines: readonly string[]): void {
    for (const line of lines) this.mended.add(line);
    for (const oldest of this.mended) {
      if (this.mended.size <= mendedMax) return;
      this.mended.delete(oldest);
    }
  }

  /** True when its messages went without us (W4). */
  private note(name: string, { state, config, created }: Extract<StreamFound, { kind: 'there' }>): boolean {
    const before = this.seen.get(name);
    const atMs = Date.now();
    const grownBy = before && before.created === created ? state.bytes - before.bytes : 0;
    this.seen.set(name, {
      atMs,
      bytes: state.bytes,
      bytesMax: Number(config['max_bytes'] ?? 0),
      messages: state.messages,
      messagesMax: Number(config['max_msgs'] ?? 0),
      created,
      growth: before ? Math.max(0, grownBy) / Math.max(1, atMs - before.atMs) : 0,
    });
    if (!before) return false;
    if (before.created !== created) return true;
    return kept.has(name) && state.messages === 0 && before.messages > 0;
  }

  /** W1, W2. */
  private async mend(toMake: readonly StreamWanted[], toMend: readonly StreamWanted[]): Promise<void> {
    const { own, jsm, onEvent, storageBytesMax } = this.parts;
    if (!own) return;
    for (const wanted of [...toMake, ...toMend]) {
      const isNew = toMake.includes(wanted);
      if (isNew) onEvent({ kind: 'stream_lost', stream: wanted.name });
      try {
        const options = { own, storageBytesMax, waitMs: limits.queueCallMs, onEvent };
        const left = await ensureTopology(jsm, [wanted], [], options);
        if (!left.some((words) => vital.has(settingOf(words)))) this.wrong.delete(wanted.name);
      } catch (error) {
        this.trouble(wanted.name, `stream ${wanted.name} cannot be made anew: ${wordsOf(error)}`);
      }
    }
  }

  /** W1. With a stream its consumers go. */
  private async mendConsumers(made: readonly StreamWanted[]): Promise<void> {
    const { own, jsm, requests, consumers, onEvent, storageBytesMax } = this.parts;
    for (const stream of workStreams) {
      const ours = consumers.filter((wanted) => wanted.stream === stream);
      const key = `consumers of ${stream}`;
      if (ours.length === 0 || this.wrong.has(stream)) continue;
      try {
        const there = new Set((await consumersOf(requests, stream)).map(({ name }) => name));
        const missing = ours.filter(({ config }) => !there.has(config.durable_name));
        if (missing.length > 0) {
          const names = missing.map(({ config }) => config.durable_name).join(', ');
          this.trouble(key, `consumers ${names} of ${stream} are missing: what is asked for cannot be drawn`);
          if (own) {
            if (!made.some(({ name }) => name === stream))
              onEvent({ kind: 'stream_lost', stream: `${stream} ${names}` });
            await ensureTopology(jsm, [], missing, { own, storageBytesMax, waitMs: limits.queueCallMs, onEvent });
          }
        }
        if (missing.length === 0 || own) this.wrong.delete(key);
      } catch (error) {
        this.trouble(key, `the consumers of ${stream} cannot be looked at: ${wordsOf(error)}`);
      }
    }
  }

  private trouble(what: string, words: string): void {
    if (this.wrong.get(what) !== words) this.parts.onEvent({ kind: 'stream_trouble', words });
    this.wrong.set(what, words);
  }
}

/** Another version may have subjects besides ours. */
function isVitalTo({ subjects }: StreamWanted, words: string, found: Readonly<Record<string, unknown>>): boolean {
  const setting = settingOf(words);
  if (setting !== 'subjects') return vital.has(setting);
  const there = Array.isArray(found['subjects']) ? (found['subjects'] as unknown[]) : [];
  return subjects.some((subject) => !there.includes(subject));
}

/** The setting that a line of `differences` is about. */
function settingOf(words: string): string {
  return /: (\w+) should be /.exec(words)?.[1] ?? '';
}

/** The stream that takes a subject of ours. */
export function streamOf(subject: string): StreamName | undefined {
  const [first = '', second = ''] = subject.split('.', 2);
  if (first === 'grm') return ledgerStreams[second];
  if (first === '$O') return 'OBJ_GRM_BLOBS';
  if (first === '$KV') return second === 'GRM_TEMPLATES' ? 'KV_GRM_TEMPLATES' : 'KV_GRM_CLUSTER';
  return undefined;
}

const ledgerStreams: Readonly<Record<string, StreamName>> = {
  req: 'GRM_REQ',
  reopen: 'GRM_REQ',
  res: 'GRM_RES',
  mres: 'GRM_RES',
  void: 'GRM_RES',
  fin: 'GRM_FIN',
  work: 'GRM_WORK',
  meta: 'GRM_META',
  dead: 'GRM_DEAD',
};

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
