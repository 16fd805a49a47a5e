// A stream of the queue model: the newest message of every subject, its age, and the refusal of a second one where it is write-once.

import type { Clock } from '../../src/process/clock.js';

export interface StreamRules {
  /** A second message on a subject is refused. */
  readonly writeOnce: boolean;
  /** Life of a message. */
  readonly ageMs: number;
  /** More subjects are refused, until `bound` says otherwise. */
  readonly messagesMax: number;
}

/** Told of what happens to the messages. `missed`: it was read at a replica that does not have it yet. */
export type Hear = (
  how: 'stored' | 'changed' | 'purged' | 'read' | 'missed',
  subject: string,
  bytes?: Uint8Array,
) => void;

interface Message {
  readonly bytes: Uint8Array;
  readonly atMs: number;
}

export class MemoryStream {
  /** In the order of storing. */
  readonly #messages = new Map<string, Message>();
  #messagesMax: number;
  #refused = false;

  constructor(
    private readonly clock: Clock,
    private readonly rules: StreamRules,
    private readonly hear: Hear = () => undefined,
  ) {
    this.#messagesMax = rules.messagesMax;
  }

  /** More or less room from now on. */
  bound(messagesMax: number): void {
    this.#messagesMax = messagesMax;
  }

  /** How full it is; `isRefusing`: the last new message found no room. */
  fill(): { readonly messages: number; readonly messagesMax: number; readonly isRefusing: boolean } {
    this.#expire();
    return { messages: this.#messages.size, messagesMax: this.#messagesMax, isRefusing: this.#refused };
  }

  put(subject: string, bytes: Uint8Array): 'stored' | 'exists' | 'full' {
    this.#expire();
    const there = this.#messages.has(subject);
    if (there && this.rules.writeOnce) return 'exists';
    this.#refused = !there && this.#messages.size >= this.#messagesMax;
    if (this.#refused) return 'full';
    this.#messages.delete(subject);
    this.#messages.set(subject, { bytes: bytes.slice(), atMs: this.clock.now() });
    this.hear(there ? 'changed' : 'stored', subject, bytes);
    return 'stored';
  }

  /** @param stale at a replica that lags */
  get(subject: string, stale = false): Uint8Array | undefined {
    this.#expire();
    if (stale && this.#messages.has(subject)) {
      this.hear('missed', subject);
      return undefined;
    }
    const bytes = this.#messages.get(subject)?.bytes.slice();
    this.hear('read', subject, bytes);
    return bytes;
  }

  ageMs(subject: string): number {
    const message = this.#messages.get(subject);
    return message ? this.clock.now() - message.atMs : 0;
  }

  purge(subject: string): void {
    if (this.#messages.delete(subject)) this.hear('purged', subject);
  }

  /** Oldest first. */
  subjects(): readonly string[] {
    this.#expire();
    return [...this.#messages.keys()];
  }

  /** Order of storing is order of age. */
  #expire(): void {
    const oldestMs = this.clock.now() - this.rules.ageMs;
    for (const [subject, { atMs }] of this.#messages) {
      if (atMs > oldestMs) return;
      this.#messages.delete(subject);
    }
  }
}
