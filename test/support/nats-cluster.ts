// Three real nats-servers that are one cluster, for streams with three replicas.
//
//   await using nats = await startNatsCluster();
//   await nats.servers[0].kill();      // the others elect another leader

import { jetstreamManager, type ClusterInfo } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './cluster.js';
import { startNats, type NatsOptions, type NatsServer } from './nats.js';
import { until } from './processes.js';

export interface NatsCluster extends AsyncDisposable {
  readonly servers: readonly NatsServer[];
  /** Resolves when every replica of every stream and consumer is there and holds what its leader does: another server may go then. */
  whole(): Promise<void>;
}

const size = 3;
/** An election takes seconds; the machine may be busy with something else. */
const readyMs = 120_000;

/**
 * Resolves when the servers have a leader and JetStream answers.
 * @param optionsOf of each server, by its number; `config` is the cluster's own
 */
export async function startNatsCluster(
  optionsOf: (at: number) => Omit<NatsOptions, 'config'> = () => ({}),
): Promise<NatsCluster> {
  const ports = await Promise.all(Array.from({ length: size }, () => freePort()));
  const hosts = ports.map((_, at) => optionsOf(at).place?.address ?? '127.0.0.1');
  const routes = ports.map((port, at) => `nats-route://${hosts[at]}:${port}`).join(', ');
  // Without no_advertise a client would learn of the other servers, and go round whatever stands between it and the one it was given.
  const config = (port: number, at: number): string =>
    [
      `server_name: nats-${at}`,
      `cluster { name: test, listen: "${hosts[at]}:${port}", no_advertise: true, routes: [${routes}] }`,
    ].join('\n');
  const started = await Promise.allSettled(
    ports.map((port, at) => startNats({ ...optionsOf(at), config: config(port, at) })),
  );
  const servers = started.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const dispose = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
  };
  try {
    for (const each of started) if (each.status === 'rejected') throw new Error(String(each.reason));
    await answers(servers);
  } catch (error) {
    await dispose();
    throw error;
  }
  return { servers, whole: () => whole(servers), [Symbol.asyncDispose]: dispose };
}

async function whole(servers: readonly NatsServer[]): Promise<void> {
  const nc = await connect({ servers: servers.map(({ url }) => url), timeout: readyMs });
  try {
    const jsm = await jetstreamManager(nc, { timeout: readyMs });
    let behind: string[] = [];
    const look = async (): Promise<boolean> => {
      behind = [];
      const note = (what: string, cluster: ClusterInfo | undefined): void => {
        const current = (cluster?.replicas ?? []).filter(({ current, offline }) => current && !offline);
        if (cluster?.leader === undefined || current.length !== servers.length - 1) behind.push(what);
      };
      for await (const { config, cluster } of jsm.streams.list()) {
        note(config.name, cluster);
        for await (const { name, cluster: ofConsumer } of jsm.consumers.list(config.name)) note(name, ofConsumer);
      }
      return behind.length === 0;
    };
    await until(() => look().catch(() => false), 'every replica is current', readyMs).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${behind.join(', ')}`);
    });
  } finally {
    await nc.close();
  }
}

async function answers(servers: readonly NatsServer[]): Promise<void> {
  const giveUpAtMs = Date.now() + readyMs;
  const nc = await connect({ servers: servers.map(({ url }) => url), timeout: readyMs });
  try {
    for (;;) {
      try {
        // It asks for the account, which the leader alone answers.
        const jsm = await jetstreamManager(nc);
        await jsm.getAccountInfo();
        return;
      } catch (error) {
        if (Date.now() > giveUpAtMs) {
          const logs = servers.map((server) => server.log().slice(-2_000)).join('\n');
          throw new Error(`the nats-servers found no leader: ${String(error)}\n${logs}`);
        }
        await sleep(200);
      }
    }
  } finally {
    await nc.close();
  }
}
