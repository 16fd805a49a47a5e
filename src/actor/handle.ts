// Handle: speaking to nodes. `ask` waits for one node's answer; a broadcast reaches whoever listens now and waits for nobody.

import { FaultError } from '../fault.js';
import type { ControlPlane } from '../queue/queue.js';
import {
  decodeCancel,
  decodeReply,
  decodeWanted,
  encodeCancel,
  encodeMessage,
  encodeReply,
  encodeWanted,
  type Message,
  type Reply,
} from './control.js';

export interface Unreachable {
  readonly kind: 'unreachable';
  /** Nobody of that name, no answer in limits.askMs, NATS away, or an answer that could not be read. */
  readonly reason: string;
}

const cancelTopic = 'cancel';
const wantedTopic = 'wanted';
/** All GRM workers serve it beside their own name: the role in it is what NATS users are told apart by (queue/subjects.ts). */
const anyWorker = 'grm-worker-any';

/** Never rejects for what a node or NATS does. Every order may be sent again: each of them is idempotent. */
export async function ask(control: ControlPlane, nodeId: string, message: Message): Promise<Reply | Unreachable> {
  let body: Uint8Array | undefined;
  try {
    body = await control.ask(nodeId, encodeMessage(message));
  } catch (error) {
    if (!(error instanceof FaultError)) throw error;
    return { kind: 'unreachable', reason: error.fault.message };
  }
  if (body === undefined) return { kind: 'unreachable', reason: `${nodeId} does not answer` };
  return decodeReply(body) ?? { kind: 'unreachable', reason: `${nodeId} answers in another version` };
}

/** Asks all at once; the answers come in the order of the ids. */
export async function askEach(
  control: ControlPlane,
  nodeIds: readonly string[],
  message: Message,
): Promise<readonly { readonly nodeId: string; readonly reply: Reply | Unreachable }[]> {
  return Promise.all(nodeIds.map(async (nodeId) => ({ nodeId, reply: await ask(control, nodeId, message) })));
}

/** Tells every worker to stop working on one run of a request. At most once, to those who listen now. */
export function broadcastCancel(control: ControlPlane, requestId: string, run: string): void {
  control.broadcast(cancelTopic, encodeCancel(requestId, run));
}

/** Tells every coordinator that somebody waits for a request, for so long still. */
export function broadcastWanted(control: ControlPlane, requestId: string, forMs: number): void {
  control.broadcast(wantedTopic, encodeWanted(requestId, forMs));
}

/**
 * Whether a worker says that it is at this very task, and that nobody had it before. All of them hear the question and one answers; false
 * when none does within limits.askMs, or NATS is away.
 */
export async function askWhoIsAt(control: ControlPlane, requestId: string, task: string): Promise<boolean> {
  try {
    return (await control.ask(anyWorker, encodeCancel(requestId, task))) !== undefined;
  } catch (error) {
    if (!(error instanceof FaultError)) throw error;
    return false;
  }
}

/** Answers the question above; the returned function ends it. The body is that of a cancel: the name tells them apart. */
export async function answerWhoIsAt(
  control: ControlPlane,
  isAt: (requestId: string, task: string) => boolean,
): Promise<() => void> {
  return control.serve(anyWorker, (body) => {
    const asked = decodeCancel(body);
    const here = asked !== undefined && isAt(asked.requestId, asked.run);
    return Promise.resolve(here ? encodeReply({ kind: 'done' }) : undefined);
  });
}

/** What is no request id is dropped. */
export async function listenWanted(
  control: ControlPlane,
  hear: (requestId: string, forMs: number) => void,
): Promise<() => void> {
  return control.listen(wantedTopic, (body) => {
    const notice = decodeWanted(body);
    if (notice) hear(notice.requestId, notice.forMs);
  });
}

/** What is no request id is dropped. */
export async function listenCancel(
  control: ControlPlane,
  hear: (requestId: string, run: string) => void,
): Promise<() => void> {
  return control.listen(cancelTopic, (body) => {
    const order = decodeCancel(body);
    if (order) hear(order.requestId, order.run);
  });
}
