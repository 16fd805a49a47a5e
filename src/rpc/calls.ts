// Calls: what the handlers of both services share. A call is open from its first handler line to its last answer, and a closing
// server waits for the open ones.

import type { Metadata, sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { fault, FaultError, type Fault } from '../fault.js';
import type { Coordinator } from '../coordinator/coordinator.js';
import type { Events } from '../observe/events.js';
import type { Auth } from './auth.js';
import type { ClusterControl } from './cluster.js';
import { statusOf } from './status.js';

export interface RpcContext {
  readonly coordinator: Coordinator;
  readonly cluster: ClusterControl;
  readonly events: Events;
  readonly auth: Auth;
  readonly open: OpenCalls;
}

export type Answer<T> = { readonly kind: 'ok'; readonly value: T } | { readonly kind: 'fault'; readonly fault: Fault };

/** Something that is open and can be told to come to its end. */
export interface OpenCall {
  drain(): void;
}

export class OpenCalls {
  readonly #calls = new Set<OpenCall>();
  readonly #idle: (() => void)[] = [];
  #draining = false;

  get size(): number {
    return this.#calls.size;
  }

  get draining(): boolean {
    return this.#draining;
  }

  begin(call: OpenCall): void {
    this.#calls.add(call);
    if (this.#draining) call.drain();
  }

  end(call: OpenCall): void {
    if (this.#calls.delete(call) && this.#calls.size === 0) for (const resume of this.#idle.splice(0)) resume();
  }

  /** Tells all open calls, and resolves when none is left. */
  async drain(): Promise<void> {
    this.#draining = true;
    for (const call of [...this.#calls]) call.drain();
    while (this.#calls.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }
}

/** What server calls have in common, whatever their shape. */
export interface CallBase {
  readonly metadata: Metadata;
  cancelled: boolean;
  getDeadline(): Date | number;
  once(event: 'cancelled', hear: () => void): unknown;
}

/** Milliseconds since the Unix epoch; Infinity without a deadline. */
export function deadlineOf(call: CallBase): number {
  return Number(call.getDeadline());
}

/** Aborts when the caller goes away or its deadline passes. */
export function signalOf(call: CallBase): AbortSignal {
  const controller = new AbortController();
  if (call.cancelled) controller.abort();
  else call.once('cancelled', () => controller.abort());
  return controller.signal;
}

/** A unary handler from a function that returns its answer. A rejection is a bug, or a fault that had no other way. */
export function unary<Q, T>(
  context: RpcContext,
  where: string,
  handle: (call: ServerUnaryCall<Q, T>) => Promise<Answer<T>>,
): (call: ServerUnaryCall<Q, T>, reply: sendUnaryData<T>) => void {
  return (call, reply) => {
    const open: OpenCall = { drain: () => undefined };
    context.open.begin(open);
    void handle(call)
      .catch((error: unknown): Answer<T> => ({ kind: 'fault', fault: unexpected(context, where, error) }))
      .then((answer) => (answer.kind === 'ok' ? reply(null, answer.value) : reply(statusOf(answer.fault))))
      .finally(() => context.open.end(open));
  };
}

/** The fault that a rejection carries, or `internal`, told as trouble. */
export function unexpected(context: Pick<RpcContext, 'events'>, where: string, error: unknown): Fault {
  if (error instanceof FaultError) return error.fault;
  context.events.emit('trouble', { where, error });
  return fault('internal', 'internal error');
}
