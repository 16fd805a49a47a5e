// Stream: one ScoreStream from its first request to its end.
//
//   ST1. An item is open from the moment it is read until its answer is handed to a writer that has room. At most limits.streamOpenMax
//        items and limits.streamOpenBytesMax of content are open; above that nothing is read, and HTTP/2 flow control stops the
//        caller. A caller that does not read its answers thus stops being read.
//   ST2. Every item read is answered exactly once, unless the stream breaks. A wrong item is answered with its own status and harms
//        no other.
//   ST3. A correlation id is free again once its answer was written. An item that reuses an open one is refused; the first goes on.
//   ST4. When the caller goes away, the signal of every open item aborts.
//   ST5. When the server drains, nothing more is read; when the last open item is answered the stream ends with UNAVAILABLE, and
//        the caller sends elsewhere what was never answered.

import { setMaxListeners } from 'node:events';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Fault } from '../fault.js';
import { limits } from '../limits.js';
import type { Detail, ScoreStreamRequest, ScoreStreamResponse } from '../wire/gen/grm/v1/reward.js';
import type { Grant } from './auth.js';
import { deadlineOf, shuttingDown, unexpected, type OpenCall, type RpcContext } from './calls.js';
import { verdictAt } from './detail.js';
import { invalid, readRequest } from './request.js';
import { statusMessageOf, statusOf } from './status.js';

type Call = ServerDuplexStream<ScoreStreamRequest, ScoreStreamResponse>;

interface Item {
  readonly correlationId: string;
  /** False: it was refused. */
  readonly taken: boolean;
  readonly contentBytes: number;
}

interface Answer {
  readonly item: Item;
  readonly response: ScoreStreamResponse;
}

export class ScoreStreamSession implements OpenCall {
  readonly #items = new Map<string, Item>();
  readonly #answers: Answer[] = [];
  readonly #deadlineAtMs: number;
  readonly #grant: Grant;
  /** ST4. One for all items: a signal costs more than all else that an item needs of its own. */
  readonly #gone = new AbortController();
  #open = 0;
  #openBytes = 0;
  #writerFull = false;
  #phase: 'reading' | 'half_closed' | 'draining' | 'closed' = 'reading';

  constructor(
    private readonly call: Call,
    private readonly context: RpcContext,
  ) {
    this.#deadlineAtMs = deadlineOf(call, context);
    this.#grant = context.auth.grant(call.metadata);
    setMaxListeners(limits.streamOpenMax, this.#gone.signal);
  }

  begin(): void {
    const { call, context } = this;
    context.open.begin(this);
    call.on('data', (message: ScoreStreamRequest) => this.#read(message));
    call.once('end', () => {
      if (this.#phase === 'reading') this.#phase = 'half_closed';
      this.#flush();
    });
    call.once('cancelled', () => this.#close());
    call.on('drain', () => {
      this.#writerFull = false;
      this.#flush();
    });
  }

  drain(): void {
    if (this.#phase !== 'reading') return;
    this.#phase = 'draining';
    this.call.pause();
    this.#flush();
  }

  cut(): void {
    if (this.#phase !== 'closed') this.#end(shuttingDown);
  }

  #read(message: ScoreStreamRequest): void {
    if (this.#phase === 'closed') return;
    this.#open++;
    const { correlationId } = message;
    const refused = this.#refusal(correlationId);
    if (refused) return this.#answerFault({ correlationId, taken: false, contentBytes: 0 }, refused);

    const asked = readRequest(message.request, this.#grant, this.context.coordinator.templates);
    if (asked.kind === 'fault') return this.#answerFault({ correlationId, taken: false, contentBytes: 0 }, asked.fault);

    const item: Item = { correlationId, taken: true, contentBytes: asked.input.contentBytes };
    this.#items.set(correlationId, item);
    this.#openBytes += item.contentBytes;
    if (this.#full()) this.call.pause();
    this.context.coordinator.score(asked.input, { deadlineAtMs: this.#deadlineAtMs, signal: this.#gone.signal }).then(
      (outcome) => {
        if (outcome.kind === 'fault') this.#answerFault(item, outcome.fault);
        else this.#answerVerdict(item, verdictAt(outcome.verdict, asked.detail));
      },
      (error: unknown) => this.#answerFault(item, unexpected(this.context, 'rpc ScoreStream', error)),
    );
  }

  #refusal(correlationId: string): Fault | undefined {
    const bytes = Buffer.byteLength(correlationId);
    const description =
      bytes === 0 || bytes > limits.correlationIdBytesMax
        ? `came ${bytes} bytes, expected 1..${limits.correlationIdBytesMax}`
        : this.#items.has(correlationId)
          ? 'came an id that is open on this stream, expected a new one'
          : undefined;
    return description === undefined ? undefined : invalid([{ field: 'correlation_id', description }]);
  }

  #answerVerdict(item: Item, { value, detail }: ReturnType<typeof verdictAt>): void {
    this.#answer(item, { $case: 'verdict', value }, detail);
  }

  #answerFault(item: Item, it: Fault): void {
    this.#answer(item, { $case: 'status', value: statusMessageOf(it) }, 0);
  }

  #answer(item: Item, outcome: NonNullable<ScoreStreamResponse['outcome']>, detail: Detail): void {
    if (this.#phase === 'closed') return;
    this.#answers.push({ item, response: { correlationId: item.correlationId, outcome, detail } });
    this.#flush();
  }

  /** Writes what the writer takes, then reads on or ends, whichever is due. */
  #flush(): void {
    if (this.#phase === 'closed') return;
    let written = 0;
    while (!this.#writerFull && written < this.#answers.length) {
      const { item, response } = this.#answers[written++]!;
      this.#writerFull = !this.call.write(response);
      this.#open--;
      this.#openBytes -= item.contentBytes;
      if (item.taken) this.#items.delete(item.correlationId);
    }
    this.#answers.splice(0, written);
    if (this.#phase === 'reading') {
      if (this.#full()) this.call.pause();
      else if (this.call.isPaused()) this.call.resume();
    } else if (this.#open === 0) {
      this.#end(this.#phase === 'draining' ? shuttingDown : undefined);
    }
  }

  #full(): boolean {
    return this.#open >= limits.streamOpenMax || this.#openBytes >= limits.streamOpenBytesMax;
  }

  #end(why: Fault | undefined): void {
    this.#phase = 'closed';
    if (why) this.call.emit('error', statusOf(why));
    else this.call.end();
    this.context.open.end(this);
  }

  #close(): void {
    this.#phase = 'closed';
    if (!this.context.open.isCut) this.#gone.abort('gone');
    this.#items.clear();
    this.#answers.length = 0;
    this.context.open.end(this);
  }
}
