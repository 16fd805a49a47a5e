// grm doctor: looks at everything a cluster stands on and says how to mend what is wrong.

import { scrubbed } from '../observe/redact.js';
import type { Config } from '../process/schema.js';
import { environment } from '../process/environment.js';
import { natsServersDefault } from '../process/queue-options.js';
import type { Door } from './context.js';
import { checkCluster } from './doctor-cluster.js';
import { checkEngines } from './doctor-engines.js';
import { checkNats } from './doctor-nats.js';
import type { Finding, Say } from './finding.js';
import { runningCluster } from './folder.js';
import { findNatsServer, natsServerMissing } from './nats-server.js';
import type { Cluster } from './session.js';

/** Resolves to what was found; every check is bounded, and one that fails does not hide the others. */
export async function doctor({ client, door, resolved, signal }: Cluster, onFinding: Say): Promise<readonly Finding[]> {
  const { config } = resolved;
  const findings: Finding[] = [];
  // Addresses of NATS and of engines may hold a password.
  const say: Say = (found) => {
    const finding = withoutSecrets(found);
    findings.push(finding);
    onFinding(finding);
  };
  const steps: readonly (() => void | Promise<void>)[] = [
    () => checkNode(say),
    () => checkBinary(config, say),
    () => checkNats(config, natsServersOf(config, door), say),
    () => checkCluster(client, door, say, signal),
    () => checkEngines(config, say, signal),
  ];
  for (const step of steps) if (!signal.aborted) await step();
  return findings;
}

function withoutSecrets(finding: Finding): Finding {
  const detail = scrubbed(finding.detail);
  return finding.result === 'ok' ? { ...finding, detail } : { ...finding, detail, fix: scrubbed(finding.fix) };
}

/** The configured ones, else that of the `grm up` of this folder, else the usual address; of somebody else's cluster none is usual. */
function natsServersOf(config: Config, door: Door): readonly string[] {
  if (config.nats.servers.length > 0) return config.nats.servers;
  return runningCluster(config.up.dataDir)?.nats?.split(',') ?? (door.own ? natsServersDefault : []);
}

function checkNode(say: Say): void {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const { node: detail } = process.versions;
  if (major > 20 || (major === 20 && minor >= 19)) say({ check: 'Node', result: 'ok', detail });
  else say({ check: 'Node', result: 'failed', detail, fix: 'install Node 20.19 or newer' });
}

function checkBinary(config: Config, say: Say): void {
  const check = 'nats-server program';
  const found = findNatsServer(config.nats.serverBinary, environment().PATH ?? '');
  if (found !== undefined) say({ check, result: 'ok', detail: found });
  else
    say({
      check,
      result: 'warning',
      detail: 'not found; only `grm up` without --nats needs it',
      fix: natsServerMissing.split('\n').slice(1).join('\n').trim(),
    });
}
