// Dead letters: GRM_DEAD keeps the newest history of each quarantined unit.

import { limits } from '../limits.js';
import type { DeadLetter, DeadPage, Stage } from '../work/shard.js';
import { fault, FaultError } from '../fault.js';
import { purge, streamInfo } from './api.js';
import { decodeDeadLetter, encodeDeadLetter } from './codec.js';
import type { OnQueueEvent } from './events.js';
import type { Publisher } from './publisher.js';
import type { DeadLetters } from './queue.js';
import type { Requests } from './requests.js';
import { subjects } from './subjects.js';

const stream = 'GRM_DEAD';
/** Sequences read at once, and the gaps (removed or renewed letters) walked over for one page. */
const windowMax = 128;
const walkMax = 64 * limits.deadListMax;
const encoder = new TextEncoder();

export class JetStreamDeadLetters implements DeadLetters {
  constructor(
    private readonly requests: Requests,
    private readonly publisher: Publisher,
    private readonly onEvent: OnQueueEvent,
  ) {}

  async put(letter: DeadLetter): Promise<void> {
    const subject = subjects.dead(letter.requestId, letter.stage, letter.unit);
    const result = await this.publisher.publish(subject, encodeDeadLetter(letter));
    if (result.kind === 'full') throw new FaultError(fault('queue_unavailable', `${stream}: ${result.reason}`));
  }

  async list(limit: number): Promise<readonly DeadLetter[]> {
    return (await this.page(limit)).letters;
  }

  /** By the server's order of storing; short, or empty, where many letters were removed or renewed. */
  async page(limit: number, before?: number): Promise<DeadPage> {
    const { state } = await streamInfo(this.requests, stream);
    const wanted = Math.min(limit, limits.deadListMax);
    const letters: DeadLetter[] = [];
    const first = Math.max(state.first_seq, 1);
    let high = Math.min(state.last_seq, before ?? Infinity);
    const lowest = Math.max(first, high - walkMax + 1);
    while (high >= lowest && letters.length < wanted) {
      const many = Math.min(windowMax, high - lowest + 1, wanted - letters.length);
      const found = await Promise.all(Array.from({ length: many }, (_, i) => this.at(high - i)));
      for (const letter of found) if (letter) letters.push(letter);
      high -= many;
    }
    return { letters, ...(high >= first && state.messages > 0 && { next: high }) };
  }

  async letter(requestId: string, stage: Stage, unit: number): Promise<DeadLetter | undefined> {
    const subject = subjects.dead(requestId, stage, unit);
    const msg = await this.requests.call(`$JS.API.DIRECT.GET.${stream}.${subject}`);
    return this.decoded(msg.data, subject);
  }

  async count(): Promise<number> {
    return (await streamInfo(this.requests, stream)).state.messages;
  }

  async remove(requestId: string, stage: Stage, unit: number): Promise<void> {
    await purge(this.requests, stream, { filter: subjects.dead(requestId, stage, unit) });
  }

  private async at(seq: number): Promise<DeadLetter | undefined> {
    const msg = await this.requests.call(`$JS.API.DIRECT.GET.${stream}`, encoder.encode(JSON.stringify({ seq })));
    return this.decoded(msg.data, `${stream} ${seq}`);
  }

  private decoded(data: Uint8Array, label: string): DeadLetter | undefined {
    if (data.length === 0) return undefined;
    try {
      return decodeDeadLetter(data);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.onEvent({ kind: 'undecodable', label, reason });
      return undefined;
    }
  }
}
