// Control: what is said to a node and what it answers, as typed unions and as bytes.
//
//   C1. What comes off the wire is checked here: size, ids, ranges. Anything else is `undefined`, never an exception and never a half-read message.

import { limits } from '../limits.js';
import type { Node } from '../wire/gen/grm/v1/cluster.js';
import { CancelOrder, ControlMessage, ControlReply, WantedNotice } from '../wire/gen/grm/work/v1/work.js';

export type Message =
  | { readonly kind: 'status' }
  /** Finish or hand back the work, take no more. */
  | { readonly kind: 'drain' }
  | { readonly kind: 'resume' }
  | { readonly kind: 'cancel'; readonly requestId: string }
  /** Samples at once over all engines of the node, 1..limits.slotsMax. */
  | { readonly kind: 'set_slots'; readonly slots: number };

export type Reply =
  | { readonly kind: 'status'; readonly node: Node }
  /** To drain and resume: the order is taken, its work goes on. */
  | { readonly kind: 'done' }
  | { readonly kind: 'cancelled'; readonly cancelled: boolean }
  | { readonly kind: 'slots'; readonly slots: number }
  | { readonly kind: 'refused'; readonly reason: string };

/** A name that may stand in a subject, a lease or a file name. */
export function isToken(text: string): boolean {
  return text.length <= limits.tokenCharsMax && /^[A-Za-z0-9_-]+$/.test(text);
}

export function encodeMessage(message: Message): Uint8Array {
  return ControlMessage.encode({ order: orderOf(message) }).finish();
}

export function decodeMessage(body: Uint8Array): Message | undefined {
  const order = decoded(body, ControlMessage)?.order;
  if (order === undefined) return undefined;
  switch (order.$case) {
    case 'status':
    case 'drain':
    case 'resume':
      return { kind: order.$case };
    case 'cancel':
      return isToken(order.value.requestId) ? { kind: 'cancel', requestId: order.value.requestId } : undefined;
    case 'setSlots':
      return order.value.slots >= 1 && order.value.slots <= limits.slotsMax
        ? { kind: 'set_slots', slots: order.value.slots }
        : undefined;
  }
}

export function encodeReply(reply: Reply): Uint8Array {
  return ControlReply.encode({ reply: wireReply(reply) }).finish();
}

export function decodeReply(body: Uint8Array): Reply | undefined {
  const reply = decoded(body, ControlReply)?.reply;
  if (reply === undefined) return undefined;
  switch (reply.$case) {
    case 'status':
      return { kind: 'status', node: reply.value };
    case 'done':
      return { kind: 'done' };
    case 'cancelled':
      return { kind: 'cancelled', cancelled: reply.value.cancelled };
    case 'slots':
      return { kind: 'slots', slots: reply.value.slots };
    case 'refused':
      return { kind: 'refused', reason: reply.value.reason };
  }
}

/** The broadcast form of a cancel, to every node at once. `run` names one run of the request, as its tasks do; empty: whatever is worked on now. */
export function encodeCancel(requestId: string, run = ''): Uint8Array {
  return CancelOrder.encode({ requestId, run }).finish();
}

/** @param forMs how long somebody waits for the request still */
export function encodeWanted(requestId: string, forMs: number): Uint8Array {
  return WantedNotice.encode({ requestId, forMs: Math.min(limits.timeBudgetMsMax, Math.ceil(forMs)) }).finish();
}

export function decodeWanted(body: Uint8Array): WantedNotice | undefined {
  const notice = decoded(body, WantedNotice);
  return notice !== undefined && isToken(notice.requestId) ? notice : undefined;
}

export function decodeCancel(body: Uint8Array): CancelOrder | undefined {
  const order = decoded(body, CancelOrder);
  if (order === undefined || !isToken(order.requestId)) return undefined;
  // A run's name is longer than the id of its coordinator, which stands in it; it stands in no subject.
  return order.run.length <= 2 * limits.tokenCharsMax ? order : undefined;
}

/** The message, or undefined when the bytes are too many or no such message (C1). */
export function decoded<T>(body: Uint8Array, codec: { decode(body: Uint8Array): T }): T | undefined {
  if (body.byteLength > limits.controlBytesMax) return undefined;
  try {
    return codec.decode(body);
  } catch {
    // ts-proto throws on truncated and malformed bytes; what they were is of no use to anybody.
    return undefined;
  }
}

function orderOf(message: Message): ControlMessage['order'] {
  switch (message.kind) {
    case 'status':
    case 'drain':
    case 'resume':
      return { $case: message.kind, value: {} };
    case 'cancel':
      return { $case: 'cancel', value: { requestId: message.requestId, run: '' } };
    case 'set_slots':
      return { $case: 'setSlots', value: { slots: message.slots } };
  }
}

function wireReply(reply: Reply): ControlReply['reply'] {
  switch (reply.kind) {
    case 'status':
      return { $case: 'status', value: reply.node };
    case 'done':
      return { $case: 'done', value: {} };
    case 'cancelled':
      return { $case: 'cancelled', value: { cancelled: reply.cancelled } };
    case 'slots':
      return { $case: 'slots', value: { slots: reply.slots } };
    case 'refused':
      return { $case: 'refused', value: { reason: reply.reason } };
  }
}
