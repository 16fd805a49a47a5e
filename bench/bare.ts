// The ceiling of the queue path: a bare JetStream task loop. One work-queue task per sample, stored on file, a worker that answers to the
// requester's inbox and acks; raw publishes with counted acks, nothing of this project in between.
//
//   node bare.js worker URL     the other side, a process of its own

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { jetstream, jetstreamManager, RetentionPolicy, StorageType } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { ended, owned, told } from './cluster.js';
import { resultBytes, taskBytes } from './payload.js';

const stream = 'BARE';
const subject = 'bare.task';
const pullMax = 256;
const lostMs = 30_000;

export interface BareLoop extends AsyncDisposable {
  readonly pids: { readonly worker: number };
  /** Tasks answered per second, `inFlight` at once, until `seconds` are over. */
  rate(inFlight: number, seconds: number): Promise<{ readonly perSecond: number; readonly samples: number }>;
  /** One task there and back. */
  roundTrip(): Promise<void>;
}

export async function startBare(natsUrl: string): Promise<BareLoop> {
  const nc = await connect({ servers: natsUrl, noAsyncTraces: true });
  const jsm = await jetstreamManager(nc);
  await jsm.streams.add({
    name: stream,
    subjects: [subject],
    retention: RetentionPolicy.Workqueue,
    storage: StorageType.File,
  });
  await jsm.consumers.add(stream, { durable_name: 'bare', ack_policy: 'explicit' });
  const worker = owned(fork(fileURLToPath(import.meta.url), ['worker', natsUrl]));
  const inbox = `_INBOX.bare.${process.pid}`;
  let answered: () => void = () => undefined;
  let stored = 0;
  let sent = 0;
  nc.subscribe(`${inbox}.result`, { callback: () => answered() });
  nc.subscribe(`${inbox}.stored`, { callback: () => void (stored += 1) });
  const send = (): void => {
    sent += 1;
    nc.publish(subject, taskBytes, { reply: `${inbox}.stored` });
  };
  await told(worker, () => true);
  return {
    pids: { worker: worker.pid ?? 0 },
    async rate(inFlight, seconds) {
      const startedAt = performance.now();
      const endsAt = startedAt + seconds * 1_000;
      let open = 0;
      let done = 0;
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`bare loop: ${open} tasks were not answered`)),
          seconds * 1_000 + lostMs,
        );
        answered = () => {
          done += 1;
          open -= 1;
          if (performance.now() < endsAt) {
            open += 1;
            send();
          } else if (open === 0) {
            clearTimeout(timer);
            resolve();
          }
        };
        for (; open < inFlight; open++) send();
      });
      return { samples: done, perSecond: done / ((performance.now() - startedAt) / 1_000) };
    },
    async roundTrip() {
      const answer = new Promise<void>((resolve) => (answered = resolve));
      send();
      await answer;
    },
    async [Symbol.asyncDispose]() {
      await nc.flush();
      if (stored !== sent) console.warn(`bare loop: ${sent} tasks were sent and ${stored} acknowledged`);
      await ended(worker);
      await jsm.streams.delete(stream);
      await nc.close();
    },
  };
}

async function work(natsUrl: string): Promise<void> {
  const nc = await connect({ servers: natsUrl, noAsyncTraces: true });
  const consumer = await jetstream(nc).consumers.get(stream, 'bare');
  const inbox = `_INBOX.bare.${process.ppid}.result`;
  await consumer.consume({
    max_messages: pullMax,
    callback: (msg) => {
      nc.publish(inbox, resultBytes);
      msg.ack();
    },
  });
  process.send?.('ready');
}

if (process.argv[2] === 'worker') await work(process.argv[3]!);
