// Publisher: a message is stored, or the caller knows why not. Several thousand may be under way at once.
//
//   U1. At most limits.pubAcksPendingMax messages and pubAcksPendingBytesMax bytes wait for their ack; callers above that wait in turn.
//   U2. A lost ack is not a lost message, the server may have stored it: the publish is repeated with the same bytes and the same id.
//   U3. A publish ends: limits.publishTriesMax tries, each within pubAckMs, and no later than publishForMs; waiting for room (U1) takes no
//       longer than that either.

import type { Msg, MsgHdrs } from '@nats-io/transport-node';
import { setTimeout as sleep } from 'node:timers/promises';
import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import { steadyNow } from '../process/clock.js';
import type { OnQueueEvent } from './events.js';
import { deniedFault, type Link } from './link.js';
import type { Requests } from './requests.js';

export type PublishResult =
  /** `again`: an earlier try of the same id had been stored. */
  | { readonly kind: 'stored'; readonly again: boolean }
  /** Write-once: the subject is taken. `retried`: perhaps by an earlier try of this very publish. */
  | { readonly kind: 'exists'; readonly retried: boolean }
  | { readonly kind: 'full'; readonly reason: string };

export interface PublisherBounds {
  readonly pendingMax: number;
  readonly pendingBytesMax: number;
  /** Longest wait for room. */
  readonly roomMs: number;
  /** Longest wait for NATS to store a message, over all its tries. */
  readonly publishForMs: number;
}

export function publisherBounds(publishForMs: number): PublisherBounds {
  return {
    pendingMax: limits.pubAcksPendingMax,
    pendingBytesMax: limits.pubAcksPendingBytesMax,
    roomMs: publishForMs,
    publishForMs,
  };
}

/** A nats-server that cannot write says so in its log, and to its clients nothing. */
const silentHint = '; it was connected and stored nothing: is its disk full, or has it no leader? Its log says';

const stored: PublishResult = { kind: 'stored', again: false };
const storedBefore: PublishResult = { kind: 'stored', again: true };
const takenBefore: PublishResult = { kind: 'exists', retried: false };

export class Publisher {
  private pending = 0;
  private pendingBytes = 0;
  private readonly waiters = new Set<() => void>();

  constructor(
    private readonly link: Link,
    private readonly requests: Requests,
    private readonly onEvent: OnQueueEvent,
    private readonly bounds: PublisherBounds,
  ) {}

  /** Throws FaultError(queue_unavailable) when NATS stays away, FaultError(internal) or permission_denied when it refuses for good. */
  async publish(subject: string, data: Uint8Array, headers?: MsgHdrs): Promise<PublishResult> {
    if (this.full()) await this.room(subject);
    this.pending += 1;
    this.pendingBytes += data.length;
    try {
      return await this.attempt(subject, data, headers);
    } finally {
      this.pending -= 1;
      this.pendingBytes -= data.length;
      if (this.pending === 0) for (const go of [...this.waiters]) go();
      else if (!this.full()) this.waiters.values().next().value?.();
    }
  }

  /** Resolves when nothing waits for its ack, or after `ms`. */
  async settle(ms: number): Promise<void> {
    const giveUpAt = steadyNow() + ms;
    while (this.pending > 0 && steadyNow() < giveUpAt) await sleep(5);
  }

  private full(): boolean {
    return this.pending >= this.bounds.pendingMax || this.pendingBytes >= this.bounds.pendingBytesMax;
  }

  private async room(subject: string): Promise<void> {
    const giveUpAt = steadyNow() + this.bounds.roomMs;
    while (this.full()) {
      const leftMs = giveUpAt - steadyNow();
      if (leftMs <= 0) {
        const words = `${this.pending} messages before ${subject} still wait for NATS to store them`;
        throw new FaultError(fault('queue_unavailable', words));
      }
      await new Promise<void>((resolve) => {
        const go = (): void => {
          clearTimeout(timer);
          this.waiters.delete(go);
          resolve();
        };
        const timer = setTimeout(go, leftMs);
        this.waiters.add(go);
      });
    }
  }

  private async attempt(subject: string, data: Uint8Array, headers?: MsgHdrs): Promise<PublishResult> {
    const giveUpAt = steadyNow() + this.bounds.publishForMs;
    let wasSilent = false;
    for (let tries = 1; ; tries += 1) {
      const askMs = Math.max(1, Math.min(limits.pubAckMs, giveUpAt - steadyNow()));
      const reply = await this.requests.ask(subject, data, askMs, headers);
      let why: string;
      if (reply.kind === 'message') {
        const outcome = readPubAck(reply.msg, tries > 1);
        if (outcome.kind !== 'later') return outcome;
        why = outcome.reason;
      } else if (reply.kind === 'denied') {
        throw deniedFault(reply.denied);
      } else {
        why = reply.why;
        wasSilent ||= why === 'timeout';
      }
      const leftMs = giveUpAt - steadyNow();
      if (tries >= limits.publishTriesMax || leftMs <= 0) {
        const words = `NATS did not store ${subject} in ${tries} tries: ${why}${wasSilent ? silentHint : ''}`;
        throw new FaultError(fault('queue_unavailable', words));
      }
      this.onEvent({ kind: 'publish_retry', subject, reason: why, tries });
      if (why === 'disconnected') await this.link.whenConnected(leftMs);
      else if (why !== 'timeout') await sleep(Math.min(leftMs, limits.pubAckMs, 100 * 2 ** (tries - 1)));
    }
  }
}

interface PubAckBody {
  readonly seq?: number;
  readonly duplicate?: boolean;
  readonly error?: { readonly code: number; readonly err_code?: number; readonly description?: string };
}

const codeOf = { brace: 0x7d, letterS: 0x73, zero: 0x30, nine: 0x39 } as const;

/** nats-server error codes: 10071 wrong last sequence; 10077 stream full or subject taken; the others say that storage is used up. */
const subjectTaken = 10_071;
const storeFailed = 10_077;
const storageUsedUp = new Set([10_023, 10_028, 10_047]);
/** Of a cluster that is at an earlier message of the same id, another try of this one: whether that is stored is known in a moment. */
const stillStoring = 10_158;

function readPubAck(msg: Msg, retried: boolean): PublishResult | { kind: 'later'; reason: string } {
  const { data } = msg;
  // {"stream":"GRM_RES", "seq":22} is what nearly every answer looks like; it needs no parser.
  const last = data[data.length - 2];
  if (
    data[2] === codeOf.letterS &&
    data[data.length - 1] === codeOf.brace &&
    last !== undefined &&
    last >= codeOf.zero &&
    last <= codeOf.nine
  ) {
    return stored;
  }
  const body = msg.json<PubAckBody>();
  if (!body.error) return body.duplicate === true ? storedBefore : stored;
  const { code, err_code: errCode = 0, description = '' } = body.error;
  const taken: PublishResult = retried ? { kind: 'exists', retried: true } : takenBefore;
  if (errCode === subjectTaken) return taken;
  // One code for both; only the words tell them apart.
  if (errCode === storeFailed)
    return description.includes('per subject') ? taken : { kind: 'full', reason: description };
  if (storageUsedUp.has(errCode)) return { kind: 'full', reason: description };
  if (code === 503 || errCode === stillStoring) return { kind: 'later', reason: `${description} (${errCode})` };
  throw new FaultError(fault('internal', `NATS refused ${msg.subject}: ${description} (${errCode})`));
}
