// Clock: reads the server's clock off the time stamp of a message that is stored for that purpose.

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import { steadyNow, systemClock } from '../process/clock.js';
import { deniedFault, type Link } from './link.js';
import type { Reply, Requests } from './requests.js';
import { ServerTime, type Reading } from './server-time.js';
import { subjects } from './subjects.js';
import { readTime } from './time-keeper.js';

/** A replica that lags has the message in a moment. */
const looksMax = 5;
const lookEveryMs = 20;
/** The stamp is cut to whole milliseconds, and so is our clock. */
const roundingMs = 1;

export class ServerClock {
  readonly time = new ServerTime({ base: systemClock, systemNow: () => Date.now() });
  private readAtMs = -Infinity;

  constructor(
    private readonly link: Link,
    private readonly requests: Requests,
  ) {}

  /** The server's time now; read for it where nobody has lately. */
  async now(): Promise<number> {
    if (steadyNow() - this.readAtMs > 2 * limits.clockReadEveryMs) await this.look();
    return this.time.now();
  }

  /** False when there was no reading: what was known stays. */
  look(): Promise<boolean> {
    return readTime(this.time, () => this.read());
  }

  /** Server's clock less ours. Throws FaultError when it cannot be read. */
  async skewMs(): Promise<number> {
    this.time.take(await this.read());
    return -this.time.systemLessServerMs();
  }

  /** One message out and back; half of the way out is the error. Throws FaultError. */
  async read(): Promise<Reading> {
    const subject = subjects.clock(this.link.id);
    // Random: the message that is read is this one, and no earlier one of a replica that lags.
    const body = randomBytes(12);
    const beforeMs = steadyNow();
    // Not through the publisher, which tries again for long and waits its turn: what took long says little.
    messageIn(await this.requests.ask(subject, body, limits.queueCallMs), 'store');
    const afterMs = steadyNow();
    for (let looks = 1; ; looks++) {
      const ask = this.requests.ask(`$JS.API.DIRECT.GET.KV_GRM_CLUSTER.${subject}`, empty, limits.queueCallMs);
      const msg = messageIn(await ask, 'show');
      const serverMs = Date.parse(msg.headers?.get('Nats-Time-Stamp') ?? '');
      if (!Number.isNaN(serverMs) && body.equals(msg.data)) {
        this.readAtMs = afterMs;
        return { serverMs, steadyMs: (beforeMs + afterMs) / 2, errorMs: (afterMs - beforeMs) / 2 + roundingMs };
      }
      if (looks >= looksMax) throw unread('does not show the message that its time was to be read from');
      await sleep(lookEveryMs);
    }
  }
}

const empty = new Uint8Array(0);

function messageIn(reply: Reply, what: 'store' | 'show') {
  if (reply.kind === 'denied') throw deniedFault(reply.denied);
  if (reply.kind === 'none') throw unread(`does not ${what} the message that its time is read from (${reply.why})`);
  const words =
    what === 'store' ? reply.msg.json<{ error?: { description?: string } }>().error?.description : undefined;
  if (words !== undefined) throw unread(`does not store the message that its time is read from: ${words}`);
  return reply.msg;
}

function unread(words: string): FaultError {
  return new FaultError(fault('queue_unavailable', `NATS ${words}`));
}
