// Control plane: leases in the bucket GRM_CLUSTER and messages over core NATS.
//
// The bucket has the layout of @nats-io/kv, so that `nats kv` can read it, but is written and read through this room's own requests: one
// inbox, one set of bounds and repeats for everything.

import { headers as newHeaders, type Msg } from '@nats-io/transport-node';
import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import { subjectsOf } from './api.js';
import type { ServerClock } from './clock.js';
import type { OnQueueEvent } from './events.js';
import { deniedFault, type Link } from './link.js';
import type { Publisher } from './publisher.js';
import type { ControlPlane } from './queue.js';
import type { Requests } from './requests.js';
import { filters, parseLeaseSubject, subjects } from './subjects.js';

const bucket = 'KV_GRM_CLUSTER';
const keptBucket = 'KV_GRM_TEMPLATES';
const operation = 'KV-Operation';
const failed = 'Grm-Failed';
const empty = new Uint8Array(0);

export interface ControlParts {
  readonly link: Link;
  readonly requests: Requests;
  readonly publisher: Publisher;
  readonly clock: ServerClock;
  readonly leaseMs: number;
  readonly onEvent: OnQueueEvent;
}

export class JetStreamControlPlane implements ControlPlane {
  constructor(private readonly parts: ControlParts) {}

  async renewLease(name: string, body: Uint8Array): Promise<void> {
    assertSmall(name, body);
    await this.write(subjects.lease(name), body);
  }

  async dropLease(name: string): Promise<void> {
    const headers = newHeaders();
    headers.set(operation, 'PURGE');
    headers.set('Nats-Rollup', 'sub');
    await this.write(subjects.lease(name), empty, headers);
  }

  async leases() {
    const nowMs = await this.parts.clock.now();
    const held = await subjectsOf(this.parts.requests, bucket, filters.leases);
    const read = held.map(async ({ subject }) => {
      const name = parseLeaseSubject(subject);
      if (name === undefined) return [];
      const msg = await this.parts.requests.call(`$JS.API.DIRECT.GET.${bucket}.${subject}`);
      const writtenAt = msg.headers?.get('Nats-Time-Stamp') ?? '';
      if (writtenAt === '' || msg.headers?.get(operation) !== '') return [];
      const ageMs = Math.max(0, nowMs - Date.parse(writtenAt));
      // The server removes it at about this age, in its own time.
      if (ageMs > this.parts.leaseMs) return [];
      return [{ name, body: Uint8Array.from(msg.data), ageMs }];
    });
    return (await Promise.all(read)).flat();
  }

  async keep(name: string, body: Uint8Array): Promise<void> {
    assertSmall(name, body);
    await this.write(subjects.kept(name), body);
  }

  async kept(name: string): Promise<Uint8Array | undefined> {
    const msg = await this.parts.requests.call(`$JS.API.DIRECT.GET.${keptBucket}.${subjects.kept(name)}`);
    return msg.data.length === 0 ? undefined : Uint8Array.from(msg.data);
  }

  serve(name: string, answer: (body: Uint8Array) => Promise<Uint8Array | undefined>): Promise<() => void> {
    const reply = async (msg: Msg): Promise<void> => {
      try {
        const body = await answer(msg.data);
        if (body === undefined) return;
        assertSmall(name, body);
        msg.respond(body);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        this.parts.onEvent({ kind: 'waiting', words: `control message to ${name} failed: ${reason}` });
        const headers = newHeaders();
        headers.set(failed, '1');
        if (this.parts.link.connected()) msg.respond(empty, { headers });
      }
    };
    return this.subscribe(subjects.node(name), (msg) => void reply(msg));
  }

  async ask(name: string, body: Uint8Array): Promise<Uint8Array | undefined> {
    assertSmall(name, body);
    const reply = await this.parts.requests.ask(subjects.node(name), body, limits.askMs);
    if (reply.kind === 'denied') throw deniedFault(reply.denied);
    if (reply.kind === 'none') return undefined;
    if (reply.msg.data.length === 0 && reply.msg.headers?.has(failed) === true) return undefined;
    return reply.msg.data;
  }

  broadcast(topic: string, body: Uint8Array): void {
    assertSmall(topic, body);
    if (this.parts.link.connected()) this.parts.link.publish(subjects.topic(topic), body);
  }

  listen(topic: string, hear: (body: Uint8Array) => void): Promise<() => void> {
    return this.subscribe(subjects.topic(topic), (msg) => {
      hear(msg.data);
    });
  }

  /** Flushed: somebody on another connection may send as soon as the promise resolves. */
  private async subscribe(subject: string, hear: (msg: Msg) => void): Promise<() => void> {
    const subscription = this.parts.link.subscribe(subject, hear);
    await this.parts.requests.flush();
    return () => {
      subscription.unsubscribe();
    };
  }

  private async write(subject: string, body: Uint8Array, headers?: ReturnType<typeof newHeaders>): Promise<void> {
    const result = await this.parts.publisher.publish(subject, body, headers);
    if (result.kind === 'full') throw new FaultError(fault('queue_unavailable', `${bucket}: ${result.reason}`));
  }
}

function assertSmall(name: string, body: Uint8Array): void {
  if (body.length <= limits.controlBytesMax) return;
  throw new RangeError(`control message of ${name}: ${body.length} bytes, at most ${limits.controlBytesMax}`);
}
