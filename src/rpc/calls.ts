// Calls: what the handlers of both services share. A call is open from its first handler line to its last answer, and a closing
// server waits for the open ones.

import type { Metadata, sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { fault, FaultError, type Fault } from '../fault.js';
import type { Coordinator } from '../coordinator/coordinator.js';
import type { Events } from '../observe/events.js';
import type { Clock } from '../process/clock.js';
import type { Auth } from './auth.js';
import type { ClusterControl } from './cluster.js';
import { statusOf } from './status.js';

export interface RpcContext {
  readonly coordinator: Coordinator;
  readonly cluster: ClusterControl;
  readonly events: Events;
  readonly auth: Auth;
  readonly open: OpenCalls;
  /** The coordinator's. */
  readonly clock: Pick<Clock, 'now'>;
}

export type Answer<T> = { readonly kind: 'ok'; readonly value: T } | { readonly kind: 'fault'; readonly fault: Fault };

/** Something that is open and can be told to come to its end. */
export interface OpenCall {
  /** Take nothing new; end when what is open is answered. */
  drain(): void;
  /** End now, with UNAVAILABLE. */
  cut(): void;
}

export const shuttingDown = fault(
  'draining',
  'this coordinator is shutting down: send what was not answered elsewhere',
);

export class OpenCalls {
  readonly #calls = new Set<OpenCall>();
  #idle: (() => void)[] = [];
  #phase: 'open' | 'draining' | 'cut' = 'open';

  get size(): number {
    return this.#calls.size;
  }

  /** After the cut it is the server that went away, not the caller: nothing is cancelled any more, another coordinator has the requests. */
  get isCut(): boolean {
    return this.#phase === 'cut';
  }

  begin(call: OpenCall): void {
    this.#calls.add(call);
    if (this.#phase === 'draining') call.drain();
    if (this.#phase === 'cut') call.cut();
  }

  end(call: OpenCall): void {
    if (!this.#calls.delete(call) || this.#calls.size > 0) return;
    for (const resume of this.#idle) resume();
    this.#idle = [];
  }

  /** Tells all open calls, and resolves when none is left. */
  async drain(): Promise<void> {
    this.#phase = 'draining';
    for (const call of [...this.#calls]) call.drain();
    while (this.#calls.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  cut(): void {
    this.#phase = 'cut';
    for (const call of [...this.#calls]) call.cut();
  }
}

/** What server calls have in common, whatever their shape. */
export interface CallBase {
  readonly metadata: Metadata;
  cancelled: boolean;
  getDeadline(): Date | number;
  once(event: 'cancelled', hear: () => void): unknown;
}

/**
 * By the coordinator's clock; Infinity without a deadline. gRPC sends the time that is left, and grpc-js adds it to the system's clock: which
 * may be an hour off.
 */
export function deadlineOf(call: CallBase, { clock }: Pick<RpcContext, 'clock'>): number {
  return clock.now() + (Number(call.getDeadline()) - Date.now());
}

/** Aborts when the caller goes away or its deadline passes. */
export function signalOf(call: CallBase, open: OpenCalls): AbortSignal {
  const controller = new AbortController();
  // A reason of our own: without one an Error with its stack is made, and this is told at the end of every call, answered or not.
  if (call.cancelled) controller.abort('gone');
  else {
    call.once('cancelled', () => {
      if (!open.isCut) controller.abort('gone');
    });
  }
  return controller.signal;
}

/** A unary handler from a function that returns its answer. A rejection is a bug, or a fault that had no other way. */
export function unary<Q, T>(
  context: RpcContext,
  where: string,
  handle: (call: ServerUnaryCall<Q, T>) => Promise<Answer<T>>,
): (call: ServerUnaryCall<Q, T>, reply: sendUnaryData<T>) => void {
  return (call, reply) => {
    let answered = false;
    const answer = (it: Answer<T>): void => {
      if (answered) return;
      answered = true;
      if (it.kind === 'ok') reply(null, it.value);
      else reply(statusOf(it.fault));
      context.open.end(open);
    };
    const open: OpenCall = { drain: () => undefined, cut: () => answer({ kind: 'fault', fault: shuttingDown }) };
    context.open.begin(open);
    handle(call).then(answer, (error: unknown) => answer({ kind: 'fault', fault: unexpected(context, where, error) }));
  };
}

/** The fault that a rejection carries, or `internal`, told as trouble. */
export function unexpected(context: Pick<RpcContext, 'events'>, where: string, error: unknown): Fault {
  if (error instanceof FaultError) return error.fault;
  context.events.emit('trouble', { where, error });
  return fault('internal', 'internal error');
}
