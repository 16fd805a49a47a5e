// Arrival: a call that asks once must have asked whole within a time. Without it a sender that stops half-way holds a call, and what has come
// of its message, for as long as it likes: gRPC's own deadline is the caller's to set.
//
//   AR1. A unary or server-streaming call whose request is not there within `withinMs` of its beginning is DEADLINE_EXCEEDED, and its
//        stream is closed: what had come of the message is let go.
//   AR2. A stream of requests has no such time: a trainer may open one long before it asks.

import { ServerInterceptingCall, ServerListenerBuilder, type ServerInterceptor } from '@grpc/grpc-js';
import { fault } from '../fault.js';
import { statusOf } from './status.js';

/** For the answer to leave: a stream that is closed before takes it along. */
const answerMs = 1_000;

export function arrivalGuard(withinMs: number): ServerInterceptor {
  return (method, call) => {
    if (method.requestStream) return new ServerInterceptingCall(call);
    const timer = setTimeout(() => {
      const words = `the request did not arrive whole within ${withinMs} ms`;
      call.sendStatus(statusOf(fault('deadline_exceeded', words)));
      closeStream(call);
    }, withinMs);
    timer.unref();
    const listener = new ServerListenerBuilder()
      .withOnReceiveHalfClose((next) => {
        clearTimeout(timer);
        next();
      })
      .withOnCancel(() => clearTimeout(timer))
      .build();
    return new ServerInterceptingCall(call, { start: (next) => next(listener) });
  };
}

/**
 * grpc-js answers and leaves the stream, with what it read, to a peer that never ends it; HTTP/2 lets a server that has answered close it
 * (RFC 9113, 8.1). The stream is a private field of its first call.
 */
function closeStream(call: object): void {
  const { stream } = call as { readonly stream?: { close?: () => void } };
  setTimeout(() => stream?.close?.(), answerMs).unref();
}
