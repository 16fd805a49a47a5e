// grm doctor on a real nats-server: what it says of NATS.

import { describe, expect, it } from 'vitest';
import type { Door } from '../../../src/cli/context.js';
import { doctor } from '../../../src/cli/doctor.js';
import { checkNats } from '../../../src/cli/doctor-nats.js';
import type { Finding } from '../../../src/cli/finding.js';
import { queueOptionsOf } from '../../../src/process/queue-options.js';
import { openQueue } from '../../../src/queue/jetstream.js';
import { GrmClient } from '../../../src/rpc/client.js';
import { resolve } from '../../support/config-files.js';
import { startNats } from '../../support/nats.js';

const closedPort = '127.0.0.1:1';

function resolvedWith(...set: string[]) {
  const resolved = resolve({ flags: { set: ['up.data_dir=/nonexistent', ...set] } });
  if (resolved.kind === 'problems') throw new Error('problems');
  return resolved;
}

/** With no coordinator to be found. */
async function examine(own: boolean, ...set: string[]): Promise<readonly Finding[]> {
  const door: Door = { address: closedPort, own };
  using client = GrmClient.connect({ address: door.address, retries: { triesMax: 1 } });
  return await doctor(
    { client, door, resolved: resolvedWith(...set), signal: new AbortController().signal },
    () => undefined,
  );
}

const about = (findings: readonly Finding[], check: string) => findings.filter((finding) => finding.check === check);

describe('grm doctor', () => {
  it('sees no drift where coordinator and doctor share a configuration, and sees it where they do not', async () => {
    await using nats = await startNats();
    const { config } = resolvedWith(
      `nats.servers=${nats.url}`,
      'nats.ack_wait_ms=5000',
      'nats.retention_ms=900000',
      'coordinator.pool=judges',
      'nats.storage_bytes_max=67108864',
    );
    await (await openQueue({ ...queueOptionsOf(config), name: 'coordinator', own: true })).close();
    const findings: Finding[] = [];
    await checkNats(config, config.nats.servers, (finding) => findings.push(finding));
    expect(about(findings, 'JetStream streams')).toEqual([
      { check: 'JetStream streams', result: 'ok', detail: 'all there, as configured' },
    ]);

    const other = resolvedWith(
      `nats.servers=${nats.url}`,
      'coordinator.pool=judges',
      'nats.retention_ms=900000',
    ).config;
    findings.length = 0;
    await checkNats(other, other.nats.servers, (finding) => findings.push(finding));
    const drift = about(findings, 'JetStream streams');
    expect(drift.length).toBeGreaterThan(0);
    expect(drift.every(({ result }) => result === 'warning')).toBe(true);
    expect(drift.map(({ detail }) => detail).join()).toContain('ack_wait should be 30000000000');
  });

  it.each(['nats://u:sekret@127.0.0.1:1', 'u:sekret@127.0.0.1:1'])(
    'shows no password of an address: %s',
    async (server) => {
      const findings = await examine(false, `nats.servers=${server}`, `meta.engines=[]`);
      const [found] = about(findings, 'NATS');
      expect(found?.result).toBe('failed');
      expect(found?.detail).toContain('[redacted]@127.0.0.1:1');
      expect(JSON.stringify(findings)).not.toContain('sekret');
    },
  );

  it('shows none of an engine either, nor of a server that answers', async () => {
    await using nats = await startNats({ config: 'authorization { user: u, password: sekret }' });
    const server = nats.url.replace('nats://', 'nats://u:sekret@');
    const engine = 'worker.engines=[{kind: openai, base_url: "http://u:sekret@127.0.0.1:1"}]';
    const findings = await examine(false, `nats.servers=${server}`, engine, 'nats.storage_bytes_max=67108864');
    expect(about(findings, 'worker.engines.0')[0]?.result).toBe('failed');
    expect(JSON.stringify(findings)).not.toContain('sekret');
  });

  it("leaves NATS of somebody else's cluster alone when nobody says where it is", async () => {
    const [found, ...more] = about(await examine(false), 'NATS');
    expect(more).toEqual([]);
    expect(found).toMatchObject({ result: 'warning', fix: 'give nats.servers' });
    expect(found?.detail).toContain('not checked');
  });
});
