// The keeper: the process between `grm up` and its nats-server. When `grm up` is killed, it lets the services drain, which need NATS for
// that, and then ends the server: nothing stays behind. `grm up` starts it and tells it which processes to wait for.
//
//   --binary FILE --data-dir FOLDER --port N (0: any free one)

import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { steadyNow } from '../process/clock.js';
import { exitCodes } from '../process/run.js';
import { commandOf } from './process-table.js';
import { startNats } from './nats-server.js';

/** From `grm up`: processes that use the server, and how long they may take to end. */
export interface Guarded {
  readonly kind: 'guard';
  readonly pids: readonly number[];
  readonly graceMs: number;
}

const { values } = parseArgs({
  options: { binary: { type: 'string' }, 'data-dir': { type: 'string' }, port: { type: 'string' } },
});

let guarded: Guarded = { kind: 'guard', pids: [], graceMs: 0 };
/** Set once, by `end`. */
const stop = new AbortController();
const starting = startNats(values.binary ?? 'nats-server', values['data-dir'] ?? '.', Number(values.port ?? 0));
starting.catch(() => undefined);

async function end(): Promise<never> {
  stop.abort();
  const nats = await starting.catch(() => undefined);
  await nats?.stop();
  process.exit(exitCodes.ok);
}

process.on('message', (message: Guarded) => (guarded = message));
process.on('SIGTERM', () => void end());
process.on('SIGINT', () => undefined);
process.on('SIGHUP', () => undefined);
process.on('disconnect', () => {
  void (async () => {
    const giveUpAtMs = steadyNow() + guarded.graceMs;
    while (steadyNow() < giveUpAtMs && guarded.pids.some((pid) => commandOf(pid) !== undefined)) await sleep(100);
    await end();
  })();
});

try {
  const nats = await starting;
  process.send?.({ kind: 'ready', url: nats.url, natsPid: String(nats.pid) });
  const how = await nats.ended;
  if (!stop.signal.aborted) process.stderr.write(`nats-server ended: ${how}\n`);
  process.exit(stop.signal.aborted ? exitCodes.ok : exitCodes.failure);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(exitCodes.failure);
}
