// grm doctor: looks at everything a cluster stands on and says how to mend what is wrong.

import pc from 'picocolors';
import { FaultError } from '../fault.js';
import type { Config } from '../process/schema.js';
import { environment } from '../process/environment.js';
import { openQueue } from '../queue/jetstream.js';
import type { QueueSystem } from '../queue/queue.js';
import type { GrmClient } from '../rpc/client.js';
import { ActorState } from '../wire/gen/grm/v1/cluster.js';
import { failureOf } from './context.js';
import { findNatsServer, natsServerMissing } from './nats-server.js';

export interface Finding {
  readonly check: string;
  readonly result: 'ok' | 'warning' | 'failed';
  readonly detail: string;
  /** What to do about it. */
  readonly fix?: string;
}

export interface DoctorOptions {
  readonly config: Config;
  readonly natsServers: readonly string[];
  readonly client: GrmClient;
  readonly address: string;
  readonly onFinding: (finding: Finding) => void;
}

/** Clock differences that are told: a shard's deadline is the one time that crosses hosts. */
const skewMsMax = 2_000;

/** Resolves to what was found; every check is bounded, and one that fails does not hide the others. */
export async function doctor(options: DoctorOptions): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  const say = (finding: Finding): void => {
    findings.push(finding);
    options.onFinding(finding);
  };
  checkNode(say);
  checkBinary(options.config, say);
  await checkNats(options, say);
  await checkCluster(options, say);
  return findings;
}

type Say = (finding: Finding) => void;

function checkNode(say: Say): void {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const ok = major > 20 || (major === 20 && minor >= 19);
  say({
    check: 'Node',
    result: ok ? 'ok' : 'failed',
    detail: process.versions.node,
    ...(!ok && { fix: 'install Node 20.19 or newer' }),
  });
}

function checkBinary(config: Config, say: Say): void {
  const found = findNatsServer(config.nats.serverBinary, environment().PATH ?? '');
  if (found) say({ check: 'nats-server program', result: 'ok', detail: found });
  else
    say({
      check: 'nats-server program',
      result: 'warning',
      detail: 'not found; only `grm up` without --nats needs it',
      fix: natsServerMissing,
    });
}

async function checkNats(options: DoctorOptions, say: Say): Promise<void> {
  const { config, natsServers } = options;
  let queue: QueueSystem;
  try {
    queue = await openQueue({
      servers: natsServers,
      ...(config.nats.token && { token: config.nats.token.reveal() }),
      ...(config.nats.user !== undefined && { user: config.nats.user }),
      ...(config.nats.password && { password: config.nats.password.reveal() }),
      ...(config.nats.credsFile !== undefined && { credsFile: config.nats.credsFile }),
      ...(config.nats.tls && { tls: config.nats.tls }),
      name: 'doctor',
      pools: { grm: [config.coordinator.pool], meta: [config.coordinator.metaPool] },
      storage: config.nats.storage,
      replicas: config.nats.replicas,
      storageBytesMax: config.nats.storageBytesMax,
      retention: { ledgerMs: config.nats.retentionMs },
      own: false,
      connectMs: 5_000,
      topologyWaitMs: 5_000,
    });
  } catch (error) {
    const kind = error instanceof FaultError ? error.fault.kind : 'internal';
    const fix =
      kind === 'failed_precondition'
        ? 'start a coordinator (it makes the streams), or see the message'
        : 'start nats-server with JetStream (`nats-server -js`), or set nats.servers; `grm up` starts one of its own';
    say({ check: 'NATS', result: 'failed', detail: failureOf(error).message, fix });
    return;
  }
  try {
    say({
      check: 'NATS',
      result: 'ok',
      detail: `${natsServers.join(', ')}, server ${queue.serverVersion}, round trip ${(await queue.rttMs()).toFixed(1)} ms`,
    });
    const [major = 0, minor = 0] = queue.serverVersion.split('.').map(Number);
    if (major === 2 && minor < 10) {
      say({
        check: 'NATS version',
        result: 'warning',
        detail: `${queue.serverVersion} writes to disk every 60 s and leaves acked work behind when it is killed (the janitor clears it)`,
        fix: 'for production take the latest 2.12 or 2.14, three replicas and sync_interval: always',
      });
    } else say({ check: 'NATS version', result: 'ok', detail: queue.serverVersion });
    if (queue.drift.length === 0) say({ check: 'JetStream streams', result: 'ok', detail: 'all there, as configured' });
    for (const drift of queue.drift)
      say({
        check: 'JetStream streams',
        result: 'warning',
        detail: drift,
        fix: 'restart a coordinator to apply the settings, or change the configuration',
      });
    const skewMs = await queue.clockSkewMs();
    const skewed = Math.abs(skewMs) > skewMsMax;
    say({
      check: 'clock',
      result: skewed ? 'warning' : 'ok',
      detail: `NATS is ${Math.round(skewMs)} ms from this machine`,
      ...(skewed && { fix: 'run an NTP client on every host' }),
    });
    for (const depth of await queue.work.depths()) {
      if (depth.pending + depth.inFlight > 0)
        say({
          check: 'queues',
          result: 'ok',
          detail: `${depth.stream} ${depth.pool}/${depth.class}: ${depth.pending} pending, ${depth.inFlight} in flight`,
        });
    }
    const dead = await queue.dead.count();
    say({
      check: 'dead letters',
      result: dead > 0 ? 'warning' : 'ok',
      detail: `${dead} quarantined`,
      ...(dead > 0 && { fix: '`grm dead list` shows why, `grm dead retry` runs them again' }),
    });
  } catch (error) {
    say({ check: 'NATS', result: 'failed', detail: failureOf(error).message });
  } finally {
    await queue.close();
  }
}

async function checkCluster({ client, address, config }: DoctorOptions, say: Say): Promise<void> {
  try {
    const { nodes } = await client.status({ deadlineMs: 5_000 });
    say({
      check: 'coordinator',
      result: 'ok',
      detail: `${address} answers, ${nodes.filter((node) => node.role === 'coordinator').length} in the cluster`,
    });
    const versions = [...new Set(nodes.map((node) => node.version))];
    if (versions.length > 1)
      say({
        check: 'versions',
        result: 'warning',
        detail: `mixed: ${versions.join(', ')}`,
        fix: 'finish the rolling upgrade',
      });
    for (const [role, what] of [
      ['grm-worker', 'GRM engines'],
      ['meta-worker', 'meta RM'],
    ] as const) {
      const actors = nodes.filter((node) => node.role === role).flatMap((node) => node.actors);
      if (actors.length === 0) {
        say({
          check: what,
          result: role === 'grm-worker' ? 'failed' : 'warning',
          detail: `no ${role} is in the cluster`,
          fix:
            role === 'grm-worker'
              ? 'start one with worker.engines set'
              : 'start one with meta.engines set; without it votes are naive',
        });
      }
      for (const actor of actors) {
        const alive = actor.state === ActorState.ALIVE;
        const state =
          Object.entries(ActorState)
            .find(([, number]) => number === actor.state)?.[0]
            .toLowerCase() ?? '';
        say({
          check: what,
          result: alive ? 'ok' : 'failed',
          detail: `${actor.id} ${state}${actor.stateReason ? `: ${actor.stateReason}` : ''}${alive ? ` ${actor.model} (${actor.engine})${role === 'meta-worker' ? ', self-test passed' : ''}` : ''}`,
          ...(!alive && {
            fix:
              role === 'meta-worker'
                ? 'see the reason: an activation that squashes logits, or an engine that is down'
                : "see the engine's log",
          }),
        });
      }
    }
    if (nodes.some((node) => node.fake))
      say({
        check: 'engines',
        result: 'warning',
        detail: 'the FAKE engine is in use: its judgements mean nothing',
        fix: 'set worker.engines and meta.engines',
      });
  } catch (error) {
    say({
      check: 'coordinator',
      result: 'failed',
      detail: failureOf(error, address).message.split('\n')[0] ?? '',
      fix: `start one, or give its address with --address (the configuration says ${config.grpc.listen})`,
    });
  }
}

export function findingText({ check, result, detail, fix }: Finding): string {
  const mark = result === 'ok' ? pc.green('ok     ') : result === 'warning' ? pc.yellow('warning') : pc.red('FAILED ');
  const mend =
    fix !== undefined && result !== 'ok' ? `\n        ${pc.bold('fix')} ${fix.split('\n').join('\n            ')}` : '';
  return `${mark} ${check.padEnd(20)} ${detail.split('\n').join('\n        ')}${mend}`;
}
