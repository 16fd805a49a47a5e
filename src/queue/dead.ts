// Dead letters: GRM_DEAD keeps the newest history of each quarantined unit.

import { limits } from '../limits.js';
import type { DeadLetter, Stage } from '../work/shard.js';
import { fault, FaultError } from '../fault.js';
import { purge, streamInfo } from './api.js';
import { decodeDeadLetter, encodeDeadLetter } from './codec.js';
import type { OnQueueEvent } from './events.js';
import type { Publisher } from './publisher.js';
import type { DeadLetters } from './queue.js';
import type { Requests } from './requests.js';
import { subjects } from './subjects.js';

const stream = 'GRM_DEAD';
/** Sequences read at once, and the gaps (removed or renewed letters) walked over for one list. */
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

  /** Newest first, by the server's order of storing; at most limits.deadListMax. */
  async list(limit: number): Promise<readonly DeadLetter[]> {
    const { state } = await streamInfo(this.requests, stream);
    const wanted = Math.min(limit, limits.deadListMax);
    const letters: DeadLetter[] = [];
    const lowest = Math.max(state.first_seq, state.last_seq - walkMax + 1, 1);
    for (let high = state.last_seq; high >= lowest && letters.length < wanted; high -= windowMax) {
      const sequences = Array.from({ length: Math.min(windowMax, high - lowest + 1) }, (_, i) => high - i);
      for (const letter of await Promise.all(sequences.map((seq) => this.at(seq)))) if (letter) letters.push(letter);
    }
    return letters.slice(0, wanted);
  }

  async count(): Promise<number> {
    return (await streamInfo(this.requests, stream)).state.messages;
  }

  async remove(requestId: string, stage: Stage, unit: number): Promise<void> {
    await purge(this.requests, stream, { filter: subjects.dead(requestId, stage, unit) });
  }

  private async at(seq: number): Promise<DeadLetter | undefined> {
    const msg = await this.requests.call(`$JS.API.DIRECT.GET.${stream}`, encoder.encode(JSON.stringify({ seq })));
    if (msg.data.length === 0) return undefined;
    try {
      return decodeDeadLetter(msg.data);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.onEvent({ kind: 'undecodable', label: `${stream} ${seq}`, reason });
      return undefined;
    }
  }
}
