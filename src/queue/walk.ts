// Walk: the subjects of a stream's messages from one sequence on, in order, without what is in them. Unlike a list of subjects it costs what is
// walked and not what the stream holds, and no answer is so big that reading it stalls the process.

import type { Msg } from '@nats-io/transport-node';
import { randomUUID } from 'node:crypto';
import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import { createWalker, deleteConsumer } from './api.js';
import type { Link } from './link.js';
import type { Requests } from './requests.js';

export interface Step {
  readonly subject: string;
  readonly seq: number;
  /** By the server's clock, milliseconds since the Unix epoch. */
  readonly atMs: number;
}

/** Asked for at once: some tens of kilobytes, so that the socket's turns stay short. */
const batch = 1_000;
const encoder = new TextEncoder();

export class Walk {
  private readonly inbox: string;
  private readonly name = `walk-${randomUUID()}`;
  private end: (how: 'batch' | 'done' | Error) => void = () => undefined;
  private steps: Step[] = [];
  private isDone = false;

  private constructor(
    private readonly link: Link,
    private readonly requests: Requests,
    private readonly stream: string,
  ) {
    this.inbox = `${link.inbox}.${this.name}`;
  }

  /** Call `close` when it is over. */
  static async open(link: Link, requests: Requests, stream: string, fromSeq: number): Promise<Walk> {
    const walk = new Walk(link, requests, stream);
    await createWalker(requests, stream, walk.name, fromSeq);
    return walk;
  }

  /** The next steps, at most `batch`; none when the end is reached. Rejects with FaultError(queue_unavailable) when nothing comes. */
  async next(): Promise<readonly Step[]> {
    if (this.isDone) return [];
    this.steps = [];
    const subscription = this.link.subscribe(this.inbox, (msg) => this.hear(msg));
    let timer: NodeJS.Timeout | undefined;
    const how = await new Promise<'batch' | 'done' | Error>((resolve) => {
      this.end = resolve;
      const words = `${this.stream}: a walk over its messages was not answered`;
      timer = setTimeout(resolve, limits.walkBatchMs, new FaultError(fault('queue_unavailable', words)));
      const subject = `$JS.API.CONSUMER.MSG.NEXT.${this.stream}.${this.name}`;
      this.link.publish(subject, encoder.encode(JSON.stringify({ batch, no_wait: true })), { reply: this.inbox });
    });
    clearTimeout(timer);
    subscription.unsubscribe();
    if (how instanceof Error) throw how;
    this.isDone = how === 'done';
    return this.steps;
  }

  /** What is left behind goes by itself after limits.walkIdleMs. */
  async close(): Promise<void> {
    await deleteConsumer(this.requests, this.stream, this.name).catch(() => undefined);
  }

  private hear(msg: Msg): void {
    const code = msg.headers?.code ?? 0;
    if (code > 0) {
      if (code === 404 || code === 408) this.end('done');
      else {
        const words = `${this.stream}: a walk over its messages ended: ${code} ${msg.headers?.description ?? ''}`;
        this.end(new FaultError(fault('queue_unavailable', words)));
      }
      return;
    }
    const step = stepOf(msg);
    if (!step) return;
    this.steps.push(step);
    if (this.steps.length === batch) this.end('batch');
  }
}

/** `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`; with domains two tokens more stand before. */
function stepOf({ subject, reply = '' }: Msg): Step | undefined {
  const tokens = reply.split('.');
  const first = tokens.length >= 11 ? 7 : 5;
  const seq = Number(tokens[first]);
  return Number.isSafeInteger(seq) ? { subject, seq, atMs: Number(tokens[first + 2]) / 1e6 } : undefined;
}
