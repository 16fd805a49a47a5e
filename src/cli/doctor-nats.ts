// Doctor, NATS: does a server answer, which one, are the streams there and as configured, do the clocks agree.

import { FaultError, type FaultKind } from '../fault.js';
import { scrubbed } from '../observe/redact.js';
import { queueOptionsOf } from '../process/queue-options.js';
import type { Config } from '../process/schema.js';
import { limits } from '../limits.js';
import { openQueue } from '../queue/jetstream.js';
import type { QueueSystem } from '../queue/queue.js';
import { skewText } from '../queue/server-time.js';
import { failureOf } from './context.js';
import type { Say } from './finding.js';

const connectMs = 5_000;

/** @param servers of the cluster; empty: nobody knows them */
export async function checkNats(config: Config, servers: readonly string[], say: Say): Promise<void> {
  if (servers.length === 0) {
    const detail = 'not checked: the cluster is not of this machine, and nats.servers does not name its NATS';
    say({ check: 'NATS', result: 'warning', detail, fix: 'give nats.servers' });
    return;
  }
  let queue: QueueSystem;
  try {
    queue = await openQueue({
      ...queueOptionsOf(config, servers),
      name: 'doctor',
      own: false,
      connectMs,
      topologyWaitMs: connectMs,
    });
  } catch (error) {
    const kind = error instanceof FaultError ? error.fault.kind : 'internal';
    say({
      check: 'NATS',
      result: 'failed',
      detail: failureOf(error).message,
      fix: fixes[kind] ?? fixes.queue_unavailable,
    });
    return;
  }
  try {
    await checkServer(queue, servers, say);
    checkStreams(queue, say);
    await checkClock(queue, config.nats.clockSkewMsMax, say);
    await checkWork(queue, say);
  } catch (error) {
    const fix =
      'NATS went away while it was looked at, or JetStream is short of something: see its log, then try again';
    say({ check: 'JetStream', result: 'failed', detail: failureOf(error).message, fix });
  } finally {
    await queue.close();
  }
}

const fixes = {
  failed_precondition: 'start a coordinator, which makes the streams (`grm up` starts one), or do as the message says',
  permission_denied: 'set nats.token, nats.user and nats.password, or nats.creds_file',
  queue_unavailable:
    'start nats-server with JetStream (`nats-server -js`), or set nats.servers; `grm up` starts one of its own',
} as const satisfies Partial<Record<FaultKind, string>> as Partial<Record<FaultKind, string>> & {
  readonly queue_unavailable: string;
};

async function checkServer(queue: QueueSystem, servers: readonly string[], say: Say): Promise<void> {
  const { serverVersion } = queue;
  const roundTrip = `${(await queue.rttMs()).toFixed(1)} ms round trip`;
  say({
    check: 'NATS',
    result: 'ok',
    detail: `${servers.map(scrubbed).join(', ')}, server ${serverVersion}, ${roundTrip}`,
  });
  const [major = 0, minor = 0] = serverVersion.split('.').map(Number);
  if (major === 2 && minor < 10) {
    say({
      check: 'NATS version',
      result: 'warning',
      detail: `${serverVersion} leaves acked work behind when it is killed (the janitor clears it)`,
      fix: 'for production take the latest 2.12 or 2.14, three replicas and sync_interval: always',
    });
  } else say({ check: 'NATS version', result: 'ok', detail: serverVersion });
}

function checkStreams({ drift }: QueueSystem, say: Say): void {
  const check = 'JetStream streams';
  if (drift.length === 0) say({ check, result: 'ok', detail: 'all there, as configured' });
  const fix = 'restart a coordinator to apply the settings, or change the configuration';
  for (const detail of drift) say({ check, result: 'warning', detail, fix });
}

async function checkClock(queue: QueueSystem, skewMsMax: number, say: Say): Promise<void> {
  const skewMs = -(await queue.clockSkewMs());
  const check = 'clock';
  const detail = `this machine is ${skewText(skewMs)} NATS`;
  const fix = 'run an NTP client on every host';
  if (Math.abs(skewMs) > skewMsMax) {
    say({ check, result: 'failed', detail: `${detail}: a worker or coordinator here would take no work`, fix });
  } else if (Math.abs(skewMs) > limits.clockSkewToldMs) say({ check, result: 'warning', detail, fix });
  else say({ check, result: 'ok', detail });
}

async function checkWork(queue: QueueSystem, say: Say): Promise<void> {
  const depths = (await queue.work.depths()).filter(({ pending, inFlight }) => pending + inFlight > 0);
  const words = depths.map(
    ({ stream, pool, class: name, pending, inFlight }) =>
      `${stream} ${pool}/${name}: ${pending} pending, ${inFlight} in flight`,
  );
  say({ check: 'queues', result: 'ok', detail: words.length > 0 ? words.join('\n') : 'empty' });
  const dead = await queue.dead.count();
  const detail = `${dead} quarantined`;
  if (dead === 0) say({ check: 'dead letters', result: 'ok', detail });
  else
    say({
      check: 'dead letters',
      result: 'warning',
      detail,
      fix: '`grm dead list` shows why, `grm dead retry` runs them again',
    });
}
