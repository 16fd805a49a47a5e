// Verdicts of one judge never pass for another's: clusters that share one NATS, and with it all that is stored, are judged by the fake engine,
// by it with another template, by it without a meta RM, and by the nano pair.

import { readFile, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { GrmClient } from '../../src/rpc/client.js';
import { cliFolder, jsonLines, type CliEnd, type CliFolder } from '../support/cli.js';
import { startNats } from '../support/nats.js';

const rowCount = 20;
const rows = Array.from({ length: rowCount }, (_, at) => ({
  id: at,
  query: `What is ${at + 11} + 4?`,
  responses: [`${at + 15}`, `${at + 16}`],
}));
const jsonl = (values: readonly object[]): string => values.map((row) => `${JSON.stringify(row)}\n`).join('');

interface Judged {
  readonly request_id: string;
  readonly stored: boolean;
  readonly rewards: readonly (number | null)[];
  readonly judge: {
    readonly id: string;
    readonly name: string;
    readonly models: readonly string[];
    readonly template: string;
    readonly meta_models: readonly string[] | null;
    readonly fake: boolean;
  };
}

interface Up {
  readonly address: string;
  stop(): Promise<void>;
}

async function up(folder: CliFolder, nats: string, listen: string, ...args: readonly string[]): Promise<Up> {
  const run = folder.start(
    'up',
    '--json',
    '--nats',
    nats,
    '--listen',
    listen,
    '--set',
    'http.listen=127.0.0.1:0',
    ...args,
  );
  await run.says('"event":"ready"', 120_000);
  const { grpc: address } = jsonLines(run.out()).find(({ event }) => event === 'ready') as unknown as { grpc: string };
  return {
    address,
    async stop() {
      run.kill('SIGTERM');
      await run.ended;
    },
  };
}

test('one store, many judges: nothing of another judge comes back, and what comes back says that it was stored and whose it is', async () => {
  await using nats = await startNats();
  await using folder = await cliFolder();
  await writeFile(folder.file('rows.jsonl'), jsonl(rows));
  await writeFile(
    folder.file('keyed.jsonl'),
    jsonl(rows.slice(0, 3).map((row) => ({ ...row, idempotency_key: `key-${row.id}` }))),
  );
  const scored = async (out: string, ...args: readonly string[]): Promise<{ rows: Judged[]; end: CliEnd }> => {
    const input = args.find((each) => each.endsWith('.jsonl')) ?? 'rows.jsonl';
    const flags = args.filter((each) => !each.endsWith('.jsonl'));
    const end = await folder.run(['score', input, '--k', '2', '--out', out, ...flags]);
    const written = existsSync(folder.file(out)) ? await readFile(folder.file(out), 'utf8') : '';
    return { rows: jsonLines(written) as unknown as Judged[], end };
  };
  const storedOf = (judged: readonly Judged[]): number => judged.filter(({ stored }) => stored).length;
  const seen = new Set<string>();
  /** A judge that nothing is stored of yet. */
  const isNew = ({ rows: judged, end }: { rows: Judged[]; end: CliEnd }): Judged['judge'] => {
    expect(end.code, end.err).toBe(0);
    expect(judged).toHaveLength(rowCount);
    expect(storedOf(judged)).toBe(0);
    for (const { request_id: id } of judged) expect(seen.has(id)).toBe(false);
    for (const { request_id: id } of judged) seen.add(id);
    const judges = new Map(judged.map(({ judge }) => [judge.id, judge]));
    expect(judges.size).toBe(1);
    return judged[0]!.judge;
  };

  // 1. The fake engine.
  let cluster = await up(folder, nats.url, '127.0.0.1:0', '--fake-engine');
  const { address } = cluster;
  const first = await scored('fake.jsonl');
  const fake = isNew(first);
  expect(fake).toMatchObject({ fake: true, models: ['fake-grm'], template: 'default', meta_models: ['fake-grm'] });
  // The same again comes from the store, and says so.
  const again = await scored('again.jsonl');
  expect(storedOf(again.rows)).toBe(rowCount);
  expect(again.rows.map(({ rewards }) => rewards)).toEqual(first.rows.map(({ rewards }) => rewards));
  expect(again.end.err).toContain(`${rowCount} judged by ${fake.name}; all of them from the store`);
  // And is drawn anew where that is asked for.
  isNew(await scored('fresh.jsonl', '--fresh'));
  expect((await scored('keyed-fake.jsonl', 'keyed.jsonl')).end.code).toBe(0);
  const inspected = await folder.run(['inspect', '--json', first.rows[0]!.request_id]);
  expect(JSON.parse(inspected.out)).toMatchObject({ stored: true, judge: { id: fake.id, fake: true } });
  // A running job, over the change.
  using job = GrmClient.connect({ address });
  const step = (at: number) => ({ query: `Step ${at}: is it so?`, responses: ['yes', 'no'], k: 2 });
  expect((await job.score(step(0))).judge?.id).toBe(fake.id);
  await cluster.stop();

  // 2. Another template, 3. no meta RM.
  await writeFile(
    folder.file('mine.txt'),
    `# Ours.\n${await readFile(new URL('../../templates/grm-default.txt', import.meta.url), 'utf8')}`,
  );
  cluster = await up(folder, nats.url, address, '--fake-engine', '--set', `templates.grm=${folder.file('mine.txt')}`);
  expect(isNew(await scored('template.jsonl'))).toMatchObject({ models: fake.models, template: 'mine', fake: true });
  await cluster.stop();
  cluster = await up(folder, nats.url, address, '--fake-engine', '--meta-workers', '0');
  expect(isNew(await scored('sums.jsonl'))).toMatchObject({
    models: fake.models,
    template: 'default',
    meta_models: null,
  });
  await cluster.stop();

  // 4. The nano pair.
  cluster = await up(folder, nats.url, address);
  const nano = isNew(await scored('nano.jsonl'));
  expect(nano).toMatchObject({ fake: false, models: ['grm'], template: 'nano', meta_models: ['meta'] });
  expect(storedOf((await scored('nano-again.jsonl')).rows)).toBe(rowCount);

  // What the job began with is named, and so is what judges now; a job that wants the change says so.
  const refused = job.score(step(1));
  await expect(refused).rejects.toMatchObject({ kind: 'judge_changed' });
  await expect(refused).rejects.toThrow(fake.name);
  await expect(refused).rejects.toThrow(nano.name);
  expect((await job.score({ ...step(1), allowJudgeChange: true })).judge?.id).toBe(nano.id);

  // A key of another judge.
  const reused = await scored('keyed-nano.jsonl', 'keyed.jsonl');
  expect(reused.end.code).toBe(2);
  for (const name of [fake.name, nano.name, '--fresh', '--allow-judge-change']) expect(reused.end.err).toContain(name);
  expect(reused.rows).toEqual([]);
  const allowed = await scored('keyed-nano.jsonl', 'keyed.jsonl', '--allow-judge-change');
  expect(allowed.end.code, allowed.end.err).toBe(0);
  expect(allowed.rows.map(({ stored, judge }) => [stored, judge.id])).toEqual(
    rows.slice(0, 3).map(() => [true, fake.id]),
  );
  expect(allowed.end.err).toContain(`3 judged by ${fake.name}; all of them from the store`);
  const anew = await scored('keyed-anew.jsonl', 'keyed.jsonl', '--fresh');
  expect(anew.rows.map(({ stored, judge }) => [stored, judge.id])).toEqual(
    rows.slice(0, 3).map(() => [false, nano.id]),
  );

  // A file that another judge began, whole as it is.
  const continued = await scored('fake.jsonl');
  expect(continued.end.code).toBe(2);
  for (const name of [fake.name, nano.name]) expect(continued.end.err).toContain(name);
  expect((await scored('fake.jsonl', '--allow-judge-change')).end.code).toBe(0);
  await cluster.stop();
}, 400_000);

test('the fake engine keeps its data apart in the folder that both are given', async () => {
  await using folder = await cliFolder();
  const run = folder.start(
    'up',
    '--fake-engine',
    '--data-dir',
    'data',
    '--listen',
    '127.0.0.1:0',
    '--set',
    'http.listen=127.0.0.1:0',
  );
  await run.says('ready');
  expect(existsSync(folder.file('data/fake/nats'))).toBe(true);
  expect(existsSync(folder.file('data/nats'))).toBe(false);
  // Other commands find it all the same.
  const status = await folder.run(['status', '--set', 'up.data_dir=data']);
  expect(status.out).toContain('FAKE ENGINE');
  expect(status.out).toMatch(/grm +grm-worker +fake-grm +fake-[0-9a-f]{16}/);
  run.kill('SIGTERM');
  await run.ended;
}, 60_000);
