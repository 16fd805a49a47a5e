// A full disk: under nats-server, and under what `grm score` writes.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Verdict } from '../../src/grm/verdict.js';
import { GrmError, type ScoreRequest } from '../../src/rpc/client.js';
import { cliFolder, jsonLines } from '../support/cli.js';
import { clientOf, enginesAt, once, quiet, settled, startCluster, same } from '../support/cluster.js';
import { closedGate, startEngineProxy } from '../support/engine-proxy.js';
import { until } from '../support/processes.js';
import { mountSmallDisk, refusalToMount } from '../support/small-disk.js';

const minute = 60_000;
const megabyte = 1024 * 1024;
const k = 4;
/** Of the worker's engine: test/support/cluster.ts. */
const engineSlots = 16;

function request(name: string): ScoreRequest {
  return {
    query: `Which answer to ${name} is better? ${'Some more words about it. '.repeat(400)}`,
    responses: [`An answer of quality=8 to ${name}.`, `Another, quality=3, to ${name}.`],
    idempotencyKey: name,
    k,
  };
}

const names = (what: string, count: number): string[] => Array.from({ length: count }, (_, at) => `${what}-${at}`);

describe.runIf((await refusalToMount()) === undefined)('a full disk', () => {
  test(
    'P1 P4: nats-server finds no room: new work is refused with the reason, what was accepted is kept, and all goes on when there is room and the server was restarted',
    async () => {
      await using disk = await mountSmallDisk(24 * megabyte);
      // It was told that there is more than there is: by itself it takes no more than what is free when it starts.
      await using cluster = await startCluster(
        {},
        { GRM_NATS__ACK_WAIT_MS: '2000', GRM_NATS__PUBLISH_FOR_MS: '10000', GRM_COORDINATOR__SWEEP_EVERY_MS: '1000' },
        {
          storeDir: join(disk.folder, 'store'),
          jetstream: 'max_file_store: 8GB',
        },
      );
      const gate = closedGate(20 * k);
      await using engine = await startEngineProxy(cluster.engine.url, gate.look);
      const coordinator = await cluster.start('coordinator');
      await cluster.start('grm-worker', enginesAt(engine.url));
      await cluster.start('meta-worker');
      using client = clientOf(coordinator);
      using hasty = clientOf(coordinator, once);
      await cluster.serving(client, 1, 1);

      const before = names('before', 20);
      const verdicts = new Map<string, Verdict>();
      for (const name of before) verdicts.set(name, await client.score(request(name)));

      // Accepted, and the engine is at them.
      const open = names('open', 8);
      const waiting = open.map((name) => settled(client.score(request(name), { deadlineMs: 10 * minute })));
      await until(async () => (await client.status()).requestsInFlight === open.length, 'all are accepted');
      await until(() => gate.held() > 0, 'the engine is at them');
      expect(await disk.fill()).toBeGreaterThan(megabyte);

      // More than what the server holds in its own buffers.
      const late = names('late', 40);
      const told = await Promise.all(
        late.map((name) => settled(hasty.score(request(name), { deadlineMs: 5 * minute }))),
      );
      gate.open();
      const refused = told.filter((each) => each instanceof GrmError);
      expect(refused.length).toBeGreaterThan(0);
      for (const { kind, message } of refused) {
        expect(kind, message).toBe('queue_unavailable');
        expect(message).toMatch(/NATS did not store grm\.req\.\S+ in \d+ tries: .*disk/);
      }

      await disk.free();
      // As its supervisor does; no nats-server takes up writing again by itself.
      await cluster.nats.restart();
      const answered = await Promise.all(waiting);
      expect(answered.map((verdict) => verdict.kind)).toEqual(open.map(() => 'valid'));
      for (const verdict of answered) expect(verdict).toMatchObject({ kind: 'valid', kValid: k, best: 0 });
      // The refused are asked again, as whoever is told UNAVAILABLE does.
      const again = await Promise.all(
        late.map((name) => settled(client.score(request(name), { deadlineMs: 5 * minute }))),
      );
      expect(again.map((verdict) => verdict.kind)).toEqual(late.map(() => 'valid'));
      for (const name of before)
        expect(same((await client.verdict(name))?.verdict), name).toEqual(same(verdicts.get(name)));
      await quiet(client, 2 * minute);
      expect((await client.status()).dead).toBe(0);
    },
    10 * minute,
  );

  test(
    '`grm score` says that its file finds no room, ends with 1, and the same command goes on when there is some',
    async () => {
      await using disk = await mountSmallDisk(megabyte / 4);
      await using cluster = await startCluster();
      const coordinator = await cluster.start('coordinator');
      await cluster.start('grm-worker');
      using client = clientOf(coordinator);
      await cluster.serving(client, 1, 0);
      await using cli = await cliFolder({ GRM_ADDRESS: coordinator.grpc });
      const count = 60;
      const rows = Array.from({ length: count }, (_, id) => {
        const responses = [`An answer of quality=9 to ${id}.`, `Another of quality=2 to ${id}.`];
        return `${JSON.stringify({ id, query: `Question ${id}?`, responses })}\n`;
      });
      await writeFile(cli.file('rows.jsonl'), rows.join(''));
      const out = join(disk.folder, 'scored.jsonl');
      // With every sample's texts a row takes some kilobytes: not all of them find room.
      const command = ['score', 'rows.jsonl', '--k', '8', '--samples', '--out', out];

      const full = await cli.run(command);
      expect(full.code, full.err).toBe(1);
      expect(full.err).toContain(`cannot write ${out}: ENOSPC: no space left on device`);
      expect(full.err).toContain('the same command goes on where this one stopped');
      const there = jsonLines(wholeLines(await readFile(out, 'utf8'))).length;
      expect(there).toBeGreaterThan(0);
      expect(there).toBeLessThan(count);

      await disk.grow(32 * megabyte);
      const drawn = cluster.engine.stats().done;
      const again = await cli.run(command);
      expect(again.code, again.err).toBe(0);
      expect(again.err).toContain(`${count} rows (${there} from an earlier run), 0 invalid, 0 failed`);
      const scored = await readFile(out, 'utf8');
      expect(jsonLines(scored).map(({ row, id }) => [row, id])).toEqual(rows.map((_, at) => [at, at]));
      expect(wholeLines(scored)).toBe(scored);
      // What was stored and found no room in the file is not drawn again; what the worker had in hand when the caller went may be.
      expect(drawn).toBeGreaterThan(8 * there);
      expect(cluster.engine.stats().done).toBeLessThanOrEqual(8 * count + engineSlots);
    },
    4 * minute,
  );
});

test(
  '`grm score` into a device that is full says so and ends with 1',
  async () => {
    await using cluster = await startCluster();
    const coordinator = await cluster.start('coordinator');
    await cluster.start('grm-worker');
    using client = clientOf(coordinator);
    await cluster.serving(client, 1, 0);
    await using cli = await cliFolder({ GRM_ADDRESS: coordinator.grpc });
    const row = '{"query": "Which?", "responses": ["quality=9", "quality=2"]}\n';
    await writeFile(cli.file('rows.jsonl'), row.repeat(20));
    const { code, err } = await cli.run(['score', 'rows.jsonl', '--out', '/dev/full']);
    expect(code, err).toBe(1);
    expect(err).toContain('cannot write /dev/full: ENOSPC: no space left on device');
  },
  minute,
);

function wholeLines(text: string): string {
  return text.slice(0, text.lastIndexOf('\n') + 1);
}
