// grm doctor on a real nats-server and on servers that answer as a test tells them: what it says of NATS and of engines.

import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Door } from '../../../src/cli/context.js';
import { doctor } from '../../../src/cli/doctor.js';
import { checkEngines } from '../../../src/cli/doctor-engines.js';
import { checkNats } from '../../../src/cli/doctor-nats.js';
import type { Finding } from '../../../src/cli/finding.js';
import { queueOptionsOf } from '../../../src/process/queue-options.js';
import { openQueue } from '../../../src/queue/jetstream.js';
import { GrmClient } from '../../../src/rpc/client.js';
import { resolve } from '../../support/config-files.js';
import { writeTinyGguf } from '../../support/gguf.js';
import { scriptedServer } from '../../support/scripted-server.js';
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

describe('grm doctor on engines', () => {
  const look = async (...set: string[]) => {
    const findings: Finding[] = [];
    await checkEngines(resolvedWith(...set).config, (finding) => findings.push(finding), new AbortController().signal);
    return findings;
  };
  const page = { 'content-type': 'text/event-stream' };
  const text = 'data: {"choices":[{"delta":{"content":"OK"},"finish_reason":"length"}]}\n\ndata: [DONE]\n\n';

  it('draws a token as a worker would: a server that is healthy, lists its model and refuses the key is not well', async () => {
    await using server = await scriptedServer((req, res) => {
      if (req.method === 'GET') res.writeHead(200).end('{}');
      else if (req.headers.authorization === 'Bearer right') res.writeHead(200, page).end(text);
      else res.writeHead(401).end();
    });
    const engine = (more: string) => `worker.engines=[{kind: openai, base_url: "${server.url}"${more}}]`;
    expect(await look(engine(', api_key: right'), 'meta.engines=[]')).toMatchObject([{ result: 'ok' }]);
    const [wrong] = await look(engine(', api_key: wrong'), 'meta.engines=[]');
    expect(wrong).toMatchObject({ check: 'worker.engines.0', result: 'failed' });
    expect(wrong?.detail).toContain('HTTP 401');
  });

  it('says of a server that takes no system message that it takes none', async () => {
    await using server = await scriptedServer((req, res, body) => {
      if (req.method === 'GET') res.writeHead(200).end('{}');
      else if (body.includes('"system"')) res.writeHead(400).end('{"message":"System role not supported"}');
      else res.writeHead(200, page).end(text);
    });
    const [found] = await look(`worker.engines=[{kind: openai, base_url: "${server.url}"}]`, 'meta.engines=[]');
    expect(found?.detail).toContain('takes no system message (HTTP 400: System role not supported)');
  });

  it('reads a model file to the end of its table: one that is cut short is not well, for samples and for the meta RM', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'grm-doctor-'));
    try {
      const path = join(folder, 'cut.gguf');
      writeTinyGguf(path, { seed: 1, contextTokens: 64 });
      truncateSync(path, 200_000);
      const findings = await look(
        `worker.engines=[{kind: llama, model: "${path}"}, {kind: managed, model: "${path}", command: [/bin/true]}]`,
        `meta.engines=[{kind: llama_yes_no, model: "${path}"}]`,
      );
      expect(findings.map(({ result }) => result)).toEqual(['failed', 'failed', 'failed']);
      for (const { detail } of findings) expect(detail).toMatch(/cut short|not installed/);
      expect(findings[1]?.detail).toContain('cut short');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

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
